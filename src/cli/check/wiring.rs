//! What the check needs of the outside, built from its flags.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;

use super::SubjectFlags;
use crate::cli::context::list_deadline;
use crate::cli::context::{KubeContext, unwatched};
use crate::cli::print_message;
use crate::cluster::{Cluster, Connection, Survey};
use crate::history::Visibility;
use crate::node::NodeFiles;
use crate::policy::{GivenFiles, PullgatePolicy};
use crate::registry::{CacheLimits, LoadLimits, RegistryClient};
use crate::review::ManifestSource;
use crate::serve::{NodeSettings, RegistrySettings, registries};
use crate::telemetry::instant;
use crate::text::clean;

/// How long the lists of nodes and namespaces may take.
const PATIENCE: Duration = Duration::from_secs(30);

const NOT_LISTED: &str = "you may not list nodes or namespaces there: platforms are not compared, \
                          and modes of namespaces are not known";
const NO_PODS: &str =
    "you may not list pods there: what is seen of images in the cluster does not count";

/// The context that was named, if one was: no kubeconfig is touched otherwise.
pub(super) fn context(flags: &SubjectFlags) -> anyhow::Result<Option<KubeContext>> {
    let (path, context) = (flags.kubeconfig.clone(), flags.context.clone());
    if path.is_none() && context.is_none() {
        return Ok(None);
    }
    KubeContext::read(path, context).map(Some)
}

/// A cluster to read from.
pub(super) struct OfCluster {
    pub(super) source: Arc<Cluster>,
    /// What is seen of images there, if pods may be listed.
    pub(super) survey: Option<Survey>,
}

/// Lists nodes and namespaces, and what is seen of images. Who may not list something goes on
/// without it.
pub(super) async fn cluster(
    connection: &Connection,
    namespace: &str,
    now: Timestamp,
) -> anyhow::Result<OfCluster> {
    let cluster = unwatched(connection.clone());
    match cluster.list_once(patience()).await {
        Ok(()) => {}
        Err(error) if error.is_forbidden() => print_message(NOT_LISTED),
        Err(error) => return Err(error).context("failed to read from the cluster"),
    }
    let survey = match cluster.survey(namespace, now, list_deadline()).await {
        Ok(survey) => Some(survey),
        Err(error) if error.is_forbidden() => {
            print_message(NO_PODS);
            None
        }
        Err(error) => return Err(error).context("failed to list the cluster's pods"),
    };
    if let Some(Survey { visibility: Visibility::Namespaces(_), .. }) = &survey {
        let namespace = clean(namespace);
        print_message(format_args!(
            "you may not list pods of all namespaces: what is seen of images in namespace {namespace} counts"
        ));
    }
    Ok(OfCluster { source: Arc::new(cluster), survey })
}

/// Until when one list is waited for.
pub(super) fn patience() -> Instant {
    instant() + PATIENCE
}

/// The registries, as the flags say that they are reached. A person checks for themselves, so
/// loopback is open; metadata services never are.
pub(super) fn registry(
    flags: &SubjectFlags,
    policy: &PullgatePolicy,
    nodes: Arc<NodeFiles>,
) -> anyhow::Result<Arc<dyn ManifestSource>> {
    let settings: RegistrySettings = flags.registry.clone().into();
    let hosts = settings.hosts()?.unwrap_or_default();
    let mut options = registries::options(settings, policy);
    options.contact_loopback = true;
    options.hosts = hosts;
    options.mirror_logins = Some(nodes);
    options.load = LoadLimits::patient();
    options.cache = CacheLimits::for_one_run();
    // One look-up may take so long; who waits for it waits for its turn as well.
    options.limits.whole = flags.timeout;
    options.directions.whole = options.load.longest_queue;
    Ok(RegistryClient::new(options)?)
}

/// Which files of the nodes were given.
pub(super) fn given_files(flags: &SubjectFlags) -> GivenFiles {
    let registry: RegistrySettings = flags.registry.clone().into();
    let nodes: NodeSettings = flags.nodes.clone().into();
    GivenFiles { mirrors: registry.mirrors.is_some(), credentials: nodes.has_files() }
}

/// What the nodes hold themselves, as far as their files were given.
pub(super) fn nodes(flags: &SubjectFlags) -> anyhow::Result<Arc<NodeFiles>> {
    let NodeSettings { credential_providers, docker_config, runtime: _ } =
        flags.nodes.clone().into();
    let providers = credential_providers.as_ref();
    let providers = providers.map(|(config, plugins)| (config.as_path(), plugins.as_path()));
    Ok(Arc::new(NodeFiles::read(docker_config.as_deref(), providers)?))
}
