//! Pods in pairs: one for the kubelet, in a namespace without webhook, and its twin for Pullgate, a
//! dry run of the same pod at the same moment under enforcement, tried again as a controller would.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::cluster::control_plane::{ControlPlane, DEVELOPER};
use crate::cluster::images::Image;
use crate::cluster::registry::{OTHER, PULLER, Registry};

/// The namespace that Pullgate does not see.
pub const KUBELETS: &str = "kubelets";
/// The namespace that it enforces in.
pub const JUDGED: &str = "judged";
/// How long a kubelet has to pull: it tries again after 10, 20 and 40 seconds.
pub const MINUTE: Duration = Duration::from_secs(60);
/// When the controller of a refused pod tries again, after its first try. The last one is later
/// than the grace of the policy and early enough to be wrong about a pull within the minute.
const RETRIES: [u64; 5] = [0, 3, 12, 25, 45];
/// When what comes late comes.
const LATE: Duration = Duration::from_secs(3);

/// What happens around a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A tag that is there.
    Good,
    /// An image by its digest.
    Digest,
    /// A tag of an index for two platforms.
    Index,
    /// A tag that is not there.
    MissingTag,
    /// A tag that is missing in both rounds: the pods of the first one were deleted since.
    MissingAgain,
    /// A digest that is not there.
    MissingDigest,
    /// A repository that is not there.
    MissingRepository,
    /// A tag that is pushed three seconds later.
    LateTag,
    /// A private image, and no pull secret.
    NoSecret,
    /// A private image with a pull secret that works.
    RightSecret,
    /// A private image with a pull secret whose password is wrong.
    WrongSecret,
    /// A pull secret that is made three seconds later.
    LateSecret,
    /// A pull secret that is wrong, and is put right three seconds later.
    RotatedSecret,
    /// A missing tag of a private repository, with a pull secret that works.
    PrivateMissingTag,
    /// A pull secret with an entry that the kubelet cannot read.
    BrokenSecret,
    /// A public image of a registry with a token service.
    TokenPublic,
    /// A private image of such a registry, without pull secret.
    TokenNoSecret,
    /// An image that the node holds, whose tag was deleted.
    Cached,
    /// The same, with the pull policy `Always`.
    CachedAlways,
    /// An image that the node holds, with the pull policy `Never`.
    CachedNever,
    /// An image that the node does not hold, with the pull policy `Never`.
    MissingNever,
    /// An index without an entry for the node's platform.
    OtherPlatform,
    /// A name that no runtime can read.
    InvalidName,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Good,
        Self::Digest,
        Self::Index,
        Self::MissingTag,
        Self::MissingAgain,
        Self::MissingDigest,
        Self::MissingRepository,
        Self::LateTag,
        Self::NoSecret,
        Self::RightSecret,
        Self::WrongSecret,
        Self::LateSecret,
        Self::RotatedSecret,
        Self::PrivateMissingTag,
        Self::BrokenSecret,
        Self::TokenPublic,
        Self::TokenNoSecret,
        Self::Cached,
        Self::CachedAlways,
        Self::CachedNever,
        Self::MissingNever,
        Self::OtherPlatform,
        Self::InvalidName,
    ];

    /// Whether a kubelet can pull it, or already has it, within the minute.
    pub fn works(self) -> bool {
        matches!(
            self,
            Self::Good
                | Self::Digest
                | Self::Index
                | Self::LateTag
                | Self::RightSecret
                | Self::LateSecret
                | Self::RotatedSecret
                | Self::TokenPublic
                | Self::Cached
                | Self::CachedNever
        )
    }

    /// Whether it runs only since the node holds it from before.
    pub fn is_cached(self) -> bool {
        matches!(self, Self::Cached | Self::CachedAlways | Self::CachedNever)
    }

    fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The registries that the pods' images come from.
pub struct Registries {
    pub open: Registry,
    pub private: Registry,
    pub tokens: Registry,
}

/// A pod and its twin.
#[derive(Clone, Debug)]
pub struct Pair {
    pub kind: Kind,
    name: String,
    image: String,
    repository: String,
    /// The registry user of the pull secret at first, and three seconds later.
    secret: [Option<Secret>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Secret {
    Works,
    Refused,
    Broken,
}

/// What became of a pair.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// When the kubelet had the image, since the pod was made.
    pub pulled: Option<Duration>,
    /// When the twin was denied, and with which words.
    pub denied: Option<(Duration, String)>,
    /// The warning that its first try got.
    pub warned: Option<String>,
    /// What the kubelet says of it at the end.
    pub waiting: Option<String>,
}

impl Pair {
    /// The pair `number` of `kind` in a round.
    pub fn new(registries: &Registries, kind: Kind, round: usize, number: usize) -> Self {
        let word = kind.word();
        // What is missing again has the same name in both rounds.
        let place = if kind == Kind::MissingAgain { number } else { round * 100 + number };
        let repository = match kind {
            Kind::TokenPublic => format!("public/{word}-{place}"),
            _ => format!("live/{word}-{place}"),
        };
        let registry = registries.of(kind);
        let image = match kind {
            Kind::Digest => {
                let digest = Image::single("amd64", &repository).digest().to_owned();
                registry.image(&format!("{repository}@{digest}"))
            }
            Kind::MissingDigest => {
                let digest = Image::single("amd64", &format!("{repository} never pushed"));
                registry.image(&format!("{repository}@{}", digest.digest()))
            }
            Kind::InvalidName => registry.image(&format!("{repository}/UPPER:1.0")),
            Kind::Good if number == 0 => registry.image(&repository),
            _ => registry.image(&format!("{repository}:1.0")),
        };
        let secret = match kind {
            Kind::RightSecret | Kind::PrivateMissingTag => [Some(Secret::Works); 2],
            Kind::WrongSecret => [Some(Secret::Refused); 2],
            Kind::LateSecret => [None, Some(Secret::Works)],
            Kind::RotatedSecret => [Some(Secret::Refused), Some(Secret::Works)],
            Kind::BrokenSecret => [Some(Secret::Broken); 2],
            _ => [None; 2],
        };
        let name = format!("{word}-{round}-{number}");
        Self { kind, name, image, repository, secret }
    }

    /// Pushes what is there from the beginning.
    pub fn push(&self, registries: &Registries) {
        let registry = registries.of(self.kind);
        let one = || Image::single("amd64", &self.repository);
        match self.kind {
            Kind::MissingTag
            | Kind::MissingAgain
            | Kind::MissingDigest
            | Kind::PrivateMissingTag
            | Kind::LateTag => {
                let other = Image::single("amd64", &format!("{} before", self.repository));
                registry.push(&self.repository, &["0.9"], &other);
            }
            Kind::Index => {
                let index = Image::index(&["arm64", "amd64"], &self.repository);
                registry.push(&self.repository, &["1.0"], &index);
            }
            Kind::OtherPlatform => {
                let index = Image::index(&["arm64"], &self.repository);
                registry.push(&self.repository, &["1.0"], &index);
            }
            Kind::MissingRepository | Kind::InvalidName => {}
            _ => registry.push(&self.repository, &["1.0", "latest"], &one()),
        }
    }

    /// The name of its pod.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the tag of a cached image away.
    pub fn untag(&self, registries: &Registries) {
        registries.of(self.kind).untag(&self.repository, "1.0");
    }

    fn secret_name(&self) -> String {
        format!("{}-login", self.name)
    }

    fn pod(&self, name: &str, owner: Option<&Value>) -> Value {
        let policy = match self.kind {
            Kind::CachedAlways => json!("Always"),
            Kind::CachedNever | Kind::MissingNever => json!("Never"),
            _ => Value::Null,
        };
        let mut spec = json!({
            "automountServiceAccountToken": false, "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0, "enableServiceLinks": false,
            "containers": [{"name": "app", "image": self.image}],
        });
        if !policy.is_null() {
            spec["containers"][0]["imagePullPolicy"] = policy;
        }
        if self.secret != [None; 2] {
            spec["imagePullSecrets"] = json!([{"name": self.secret_name()}]);
        }
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec,
        });
        if let Some(owner) = owner {
            pod["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            }]);
        }
        pod
    }

    /// The controller of the twin, made when the pod is; it makes no pods itself.
    fn owner(&self) -> Value {
        let labels = json!({"twin": self.name});
        let mut template = self.pod("unused", None);
        template["metadata"] = json!({"labels": labels});
        // A ReplicaSet's pods are always restarted.
        template["spec"]["restartPolicy"] = json!("Always");
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": self.name},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": labels},
                "template": {"metadata": template["metadata"], "spec": template["spec"]},
            },
        })
    }

    fn secret_object(&self, registries: &Registries, secret: Secret) -> Value {
        let registry = registries.of(self.kind);
        let config = match secret {
            Secret::Works => registry.docker_config(PULLER),
            // Each its own: after three refused logins with one, Pullgate does not try it again
            // within the minute, and cannot tell.
            Secret::Refused => registry.docker_config((OTHER.0, &self.name, "")),
            Secret::Broken => {
                json!({"auths": {registry.host(): {"auth": "not base64!"}}}).to_string()
            }
        };
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": self.secret_name()},
            "data": {".dockerconfigjson": STANDARD.encode(config)},
        })
    }
}

impl Registries {
    fn of(&self, kind: Kind) -> &Registry {
        match kind {
            Kind::NoSecret
            | Kind::RightSecret
            | Kind::WrongSecret
            | Kind::LateSecret
            | Kind::RotatedSecret
            | Kind::PrivateMissingTag
            | Kind::BrokenSecret => &self.private,
            Kind::TokenPublic | Kind::TokenNoSecret => &self.tokens,
            _ => &self.open,
        }
    }
}

/// Speaks to the API server as the developer, without a process for each request.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Api {
    /// A client of `cluster`.
    pub fn new(cluster: &ControlPlane) -> Result<Self, String> {
        let authority = std::fs::read(cluster.authority()).map_err(|error| error.to_string())?;
        let authority = reqwest::Certificate::from_pem(&authority);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .tls_certs_only(authority.ok())
            .build()
            .map_err(|error| error.to_string())?;
        let text = std::fs::read_to_string(cluster.kubeconfig(DEVELOPER));
        let config: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?;
        let token = config["users"][0]["user"]["token"].as_str().unwrap_or_default().to_owned();
        Ok(Self { client, url: cluster.url().to_owned(), token })
    }

    /// Status, warnings and body of the answer to a POST or, with the name of an object, a PUT.
    async fn send(&self, path: &str, object: &Value) -> Result<(u16, Vec<String>, Value), String> {
        let url = format!("{}{path}", self.url);
        let request = match object["metadata"]["name"].as_str() {
            Some(name) if path.ends_with(name) => self.client.put(url),
            _ => self.client.post(url),
        };
        let answer = request.bearer_auth(&self.token).json(object).send().await;
        let answer = answer.map_err(|error| format!("{path}: {error}"))?;
        let status = answer.status().as_u16();
        let warnings = answer.headers().get_all("warning").iter();
        let read = |text: &http::HeaderValue| String::from_utf8_lossy(text.as_bytes()).into_owned();
        let warnings = warnings.map(read).collect();
        let body = answer.json().await.map_err(|error| format!("{path}: {error}"))?;
        Ok((status, warnings, body))
    }

    async fn must(&self, path: &str, object: &Value) -> Result<Value, String> {
        let (status, _, body) = self.send(path, object).await?;
        if status < 300 { Ok(body) } else { Err(format!("{path}: {status} {body}")) }
    }

    async fn pods(&self, namespace: &str) -> Result<Value, String> {
        let url = format!("{}/api/v1/namespaces/{namespace}/pods", self.url);
        let answer = self.client.get(url).bearer_auth(&self.token).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        answer.json().await.map_err(|error| error.to_string())
    }
}

/// Plays all pairs at the same moment and watches for a minute what becomes of each.
pub async fn play(
    api: &Api,
    registries: &Registries,
    pairs: &[Pair],
) -> Result<Vec<Outcome>, String> {
    let started = Instant::now();
    let judged = join_all(pairs.iter().map(|pair| judge(api, registries, pair, started)));
    let (judged, watched) = futures::join!(judged, watch(api, pairs, started));
    let watched = watched?;
    let mut outcomes = Vec::new();
    for (pair, judged) in pairs.iter().zip(judged) {
        let mut outcome = judged?;
        if let Some((pulled, waiting)) = watched.get(&pair.name) {
            outcome.pulled = *pulled;
            outcome.waiting.clone_from(waiting);
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Makes the pod and its twin, what comes late, and the tries of the twin's controller.
async fn judge(
    api: &Api,
    registries: &Registries,
    pair: &Pair,
    started: Instant,
) -> Result<Outcome, String> {
    if let Some(secret) = pair.secret[0] {
        put_secret(api, registries, pair, secret, true).await?;
    }
    let owners = format!("/apis/apps/v1/namespaces/{JUDGED}/replicasets");
    let owner = api.must(&owners, &pair.owner()).await?;
    let pods = format!("/api/v1/namespaces/{KUBELETS}/pods");
    let pod = pair.pod(&pair.name, None);
    let (made, tried, late) = futures::join!(
        api.must(&pods, &pod),
        try_until_denied(api, pair, &owner, started),
        come_late(api, registries, pair),
    );
    made?;
    late?;
    tried
}

async fn put_secret(
    api: &Api,
    registries: &Registries,
    pair: &Pair,
    secret: Secret,
    new: bool,
) -> Result<(), String> {
    let object = pair.secret_object(registries, secret);
    for namespace in [KUBELETS, JUDGED] {
        let mut path = format!("/api/v1/namespaces/{namespace}/secrets");
        if !new {
            path = format!("{path}/{}", pair.secret_name());
        }
        api.must(&path, &object).await?;
    }
    Ok(())
}

async fn come_late(api: &Api, registries: &Registries, pair: &Pair) -> Result<(), String> {
    tokio::time::sleep(LATE).await;
    if let ([before, Some(after)], true) = (pair.secret, pair.secret[0] != pair.secret[1]) {
        put_secret(api, registries, pair, after, before.is_none()).await?;
    }
    if pair.kind == Kind::LateTag {
        let image = Image::single("amd64", &pair.repository);
        let pushed = registries.of(pair.kind).push_async(&pair.repository, &["1.0"], &image);
        pushed.await?;
    }
    Ok(())
}

async fn try_until_denied(
    api: &Api,
    pair: &Pair,
    owner: &Value,
    started: Instant,
) -> Result<Outcome, String> {
    let path = format!("/api/v1/namespaces/{JUDGED}/pods?dryRun=All");
    let mut outcome = Outcome::default();
    let began = Instant::now();
    for (attempt, after) in RETRIES.into_iter().enumerate() {
        tokio::time::sleep_until((began + Duration::from_secs(after)).into()).await;
        let pod = pair.pod(&format!("{}-{attempt}", pair.name), Some(owner));
        let (status, warnings, body) = api.send(&path, &pod).await?;
        match status {
            201 if attempt == 0 => outcome.warned = warnings.into_iter().next(),
            201 => {}
            403 => {
                let message = body["message"].as_str().unwrap_or_default().to_owned();
                outcome.denied = Some((started.elapsed(), message));
                return Ok(outcome);
            }
            other => return Err(format!("{}: {other} {body}", pair.name)),
        }
    }
    Ok(outcome)
}

type Watched = BTreeMap<String, (Option<Duration>, Option<String>)>;

/// When the kubelet had each image: a container that has an `imageID` was given one.
async fn watch(api: &Api, pairs: &[Pair], started: Instant) -> Result<Watched, String> {
    let mut watched: Watched = pairs.iter().map(|pair| (pair.name.clone(), (None, None))).collect();
    while started.elapsed() < MINUTE + Duration::from_secs(5) {
        let pods = api.pods(KUBELETS).await?;
        for pod in pods["items"].as_array().into_iter().flatten() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let Some((pulled, waiting)) = watched.get_mut(name) else { continue };
            let container = &pod["status"]["containerStatuses"][0];
            let has_image = container["imageID"].as_str().is_some_and(|id| !id.is_empty());
            if has_image && pulled.is_none() {
                *pulled = Some(started.elapsed());
            }
            let said = &container["state"]["waiting"];
            *waiting = said["reason"].as_str().map(|reason| {
                format!("{reason}: {}", said["message"].as_str().unwrap_or_default())
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(watched)
}

/// Pods that make the node pull the images of `pairs`.
pub async fn make_holders(api: &Api, pairs: &[&Pair]) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{KUBELETS}/pods");
    let made = pairs.iter().map(|pair| {
        let holder = Pair { kind: Kind::Good, ..(*pair).clone() };
        let pod = holder.pod(&format!("holder-{}", pair.name), None);
        let path = &path;
        async move { api.must(path, &pod).await.map(drop) }
    });
    join_all(made).await.into_iter().collect()
}
