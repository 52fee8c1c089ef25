//! The page of `explain --web`: the same pages as those of a running server, made with a person's own
//! kubeconfig and shown to a browser on this machine alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::ask::RegistryReviewer;
use super::audit::{self, Again};
use super::explanation::{Explained, Sources};
use super::subject::{Target, kind_of};
use super::{ExplainFlags, explanations, published, reviewer};
use crate::cli::context::list_deadline;
use crate::cli::context::{KubeContext, survey};
use crate::cli::print_message;
use crate::cluster::{Cluster, Connection, Survey};
use crate::history::{KnownImage, RegistryScoreSummary, ReportTarget, Visibility};
use crate::serve::overview;
use crate::server::Bound;
use crate::telemetry::now;
use crate::user::UserInfo;
use crate::web::{
    Explanation, NotFound, Overview, PageSource, PageTarget, SignInRefused, UnpullableImages,
    web_router,
};

/// A look at the cluster that is younger than this is not repeated.
const FRESH: SignedDuration = SignedDuration::from_secs(15);
/// How long what the API server publishes of policies may take.
const PUBLISHED: Duration = Duration::from_secs(5);
const KEY_BYTES: usize = 24;

/// What one look at the cluster has shown.
struct Known {
    cluster: Arc<Cluster>,
    survey: Survey,
    at: Timestamp,
}

/// What the pages are made of.
struct OwnPages {
    connection: Connection,
    namespace: String,
    reviewer: Option<Arc<RegistryReviewer>>,
    again: Again,
    recalls: bool,
    key: String,
    user: UserInfo,
    known: ArcSwap<Known>,
    /// One look at a time.
    looking: Semaphore,
}

/// Shows the pages until Ctrl-C.
pub(super) async fn serve(flags: ExplainFlags) -> anyhow::Result<()> {
    let context = KubeContext::read(flags.kubeconfig, flags.context.into_iter().next())?;
    let namespace =
        flags.namespace.as_deref().or(context.namespace()).unwrap_or("default").to_owned();
    let connection = context.connect().await?;
    let reviewer = reviewer(flags.offline, flags.registries, flags.nodes)?.map(Arc::new);
    let known = survey_all(&connection, &namespace).await?;
    if !known.survey.left_out.is_empty() {
        let left_out = known.survey.left_out.join(", ");
        print_message(format_args!("you may not list {left_out}: details are missing"));
    }
    let key = random_key()?;
    let pages = OwnPages {
        connection,
        namespace,
        reviewer,
        again: Again::default(),
        recalls: !flags.no_memory,
        key: key.clone(),
        user: UserInfo { username: "your kubeconfig".into(), ..UserInfo::default() },
        known: ArcSwap::from_pointee(known),
        looking: Semaphore::new(1),
    };
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, flags.web_port));
    let bound = Bound::bind(here).with_context(|| format!("failed to listen on {here}"))?;
    let address = bound.address();
    let stop = CancellationToken::new();
    let serving = bound.serve_admin(web_router(Arc::new(pages)), stop.clone());
    print_message(format_args!("look at http://{address}/sign-in?key={key}"));
    print_message(format_args!(
        "only this machine can, and only with this address; Ctrl-C ends it"
    ));
    tokio::select! {
        ended = serving => ended.context("failed to serve the page"),
        interrupted = tokio::signal::ctrl_c() => {
            stop.cancel();
            interrupted.context("failed to wait for Ctrl-C")
        }
    }
}

async fn survey_all(connection: &Connection, namespace: &str) -> anyhow::Result<Known> {
    let (now, deadline) = (now(), list_deadline());
    let (cluster, mut survey) = survey(connection.clone(), namespace, now, deadline).await?;
    let listed = cluster.survey_templates(&mut survey, deadline).await;
    listed.context("failed to list what has templates")?;
    Ok(Known { cluster: Arc::new(cluster), survey, at: now })
}

fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0; KEY_BYTES];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("this machine has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl OwnPages {
    /// Looks at the cluster again, if the last look is old and nobody else does.
    async fn look_again(&self) {
        let now = now();
        if now.duration_since(self.known.load().at) < FRESH {
            return;
        }
        let Ok(_only) = self.looking.try_acquire() else { return };
        match survey_all(&self.connection, &self.namespace).await {
            Ok(known) => self.known.store(Arc::new(known)),
            // What was seen before is shown, with its time.
            Err(error) => print_message(format_args!("{error:#}")),
        }
    }

    /// What is published of would-be denials, as far as the person may read it.
    async fn trial(&self) -> Option<Vec<RegistryScoreSummary>> {
        let deadline = list_deadline();
        let reading = published::read(&self.connection, deadline);
        let policies = tokio::time::timeout(PUBLISHED, reading).await.ok()?.ok()?;
        Some(policies.into_iter().flat_map(|policy| policy.status.score).collect())
    }

    fn lost(&self, cluster: &Cluster) -> UnpullableImages {
        match &self.reviewer {
            Some(_) => self.again.lost(audit::count(cluster)),
            None => UnpullableImages::NotHere("No registry is asked (--offline).".to_owned()),
        }
    }

    async fn explain_all(
        &self,
        asked: &PageTarget,
        deadline: Instant,
    ) -> Result<Vec<Explanation>, NotFound> {
        let (namespace, target) = match asked {
            PageTarget::Image(image) => {
                (&*self.namespace, Target::Known(ReportTarget::Image(image.clone())))
            }
            PageTarget::Registry(host) => {
                (&*self.namespace, Target::Known(ReportTarget::Registry(host.clone())))
            }
            PageTarget::Workload { kind, namespace, name } => {
                let known = kind_of(kind).ok_or_else(|| {
                    NotFound(format!("{kind} is not a kind of object that makes pods."))
                })?;
                (&**namespace, Target::Object(known, name.to_string()))
            }
        };
        let now = now();
        let known = self.known.load_full();
        let resolved = target.resolve(&self.connection, namespace, deadline).await;
        let (object, subjects) = resolved.map_err(|error| NotFound(format!("{error:#}.")))?;
        let sources = Sources {
            connection: &self.connection,
            cluster: &known.cluster,
            visibility: &known.survey.visibility,
            reviewer: self.reviewer.as_deref(),
            recalls: self.recalls,
            namespace,
            now,
            deadline,
        };
        let found = explanations(&sources, object.as_ref(), &subjects).await;
        Ok(found.into_iter().map(|one| explanation(one, now)).collect())
    }
}

fn explanation(explained: Explained, now: Timestamp) -> Explanation {
    let facts = explained.facts(now).into_iter().flatten().collect();
    let Explained { report, cause, remedy, commands, alternatives, verify, .. } = explained;
    let ways = std::iter::once(commands).chain(alternatives).collect();
    Explanation { report, cause, remedy, ways, verify, ask: None, facts }
}

impl PageSource for OwnPages {
    fn sign_in_help(&self) -> (&'static str, &'static str) {
        (
            "Open the address that the command has printed, with the key in it, or enter the key.",
            "pullgate explain --web",
        )
    }

    fn takes_keys_in_addresses(&self) -> bool {
        true
    }

    fn sign_in<'a>(
        &'a self,
        secret: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, Result<UserInfo, SignInRefused>> {
        let own = bool::from(secret.as_bytes().ct_eq(self.key.as_bytes()));
        let found = if own { Ok(self.user.clone()) } else { Err(SignInRefused::Nobody) };
        async move { found }.boxed()
    }

    fn visibility<'a>(
        &'a self,
        _: &'a UserInfo,
        _: Option<&'a str>,
        _: Instant,
    ) -> BoxFuture<'a, Option<Visibility>> {
        let seen = self.known.load().survey.visibility.clone();
        async move { Some(seen) }.boxed()
    }

    fn overview<'a>(&'a self, visible: &'a Visibility) -> BoxFuture<'a, Overview> {
        async move {
            self.look_again().await;
            let trial = self.trial().await;
            let known = self.known.load_full();
            let lost = self.lost(&known.cluster);
            overview(&known.cluster, (visible, known.at), lost, trial)
        }
        .boxed()
    }

    fn refresh(&self) -> bool {
        let Some(reviewer) = &self.reviewer else { return false };
        let known = self.known.load_full();
        self.again.begin(known.cluster.clone(), known.survey.clone(), reviewer.clone());
        true
    }

    fn images<'a>(
        &'a self,
        words: &'a str,
        visible: &'a Visibility,
        most: usize,
    ) -> BoxFuture<'a, (Vec<KnownImage>, usize)> {
        let found =
            self.known.load().cluster.index(|index| index.images_named(words, visible, most));
        async move { found }.boxed()
    }

    fn explain<'a>(
        &'a self,
        asked: &'a PageTarget,
        _: &'a Visibility,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Explanation>, NotFound>> {
        self.explain_all(asked, deadline).boxed()
    }
}
