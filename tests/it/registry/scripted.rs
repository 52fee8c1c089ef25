//! A registry on loopback that does what its script says and writes down what it was asked.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use base64::Engine as _;
use pullgate::credential::{Credential, CredentialOrigin};
use pullgate::image::{Digest, ImageReference};
use pullgate::node_config::{Endpoint, RegistryHosts};
use pullgate::pull::{Detail, ListRequest, Listing, Lookup, LookupRequest, Outcome, Purpose};
use pullgate::registry::{RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Call {
    /// `user:password` of a Basic header, or the token of a Bearer one.
    pub fn proof(&self) -> Option<String> {
        let value = self.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        if let Some(token) = value.strip_prefix("Bearer ") {
            return Some(token.to_owned());
        }
        let decoded =
            base64::engine::general_purpose::STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
        String::from_utf8(decoded).ok()
    }

    fn user(&self) -> String {
        let proof = self.proof().unwrap_or_default();
        let name = proof.strip_prefix("tok-").unwrap_or(&proof);
        name.split([':', '#']).next().unwrap_or_default().to_owned()
    }
}

/// Who may read what.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// Everybody everything.
    #[default]
    Open,
    /// Listed users by name and password, with the repositories that each may read. A user without a
    /// name is everybody who does not log in, as zot has it.
    Basic(Vec<User>),
    /// The same by tokens.
    Token(Vec<User>),
}

/// A user of a registry.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub password: String,
    pub repositories: Vec<String>,
}

pub fn user(name: &str, password: &str, repositories: &[&str]) -> User {
    User {
        name: name.into(),
        password: password.into(),
        repositories: repositories.iter().map(ToString::to_string).collect(),
    }
}

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;
type Script = dyn Fn(&Call) -> Option<Answer> + Send + Sync;

struct Inner {
    address: SocketAddr,
    access: Mutex<Access>,
    content: Mutex<HashMap<String, (String, Vec<u8>)>>,
    script: Mutex<Option<Arc<Script>>>,
    log: Mutex<Vec<String>>,
    calls: Mutex<Vec<Call>>,
    delay: Mutex<Duration>,
    tokens: Mutex<u32>,
}

/// The registry.
#[derive(Clone)]
pub struct Scripted {
    inner: Arc<Inner>,
}

impl Scripted {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner {
            address: listener.local_addr().unwrap(),
            access: Mutex::default(),
            content: Mutex::default(),
            script: Mutex::default(),
            log: Mutex::default(),
            calls: Mutex::default(),
            delay: Mutex::default(),
            tokens: Mutex::default(),
        });
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner }
    }

    pub fn host(&self) -> String {
        self.inner.address.to_string()
    }

    pub fn access(&self, access: Access) -> &Self {
        *self.inner.access.lock().unwrap() = access;
        self
    }

    pub fn delay(&self, delay: Duration) -> &Self {
        *self.inner.delay.lock().unwrap() = delay;
        self
    }

    /// What it does before anything else; nothing goes on as usual.
    pub fn script<F>(&self, script: impl Fn(&Call) -> Option<F> + Send + Sync + 'static) -> &Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let script = move |call: &Call| script(call).map(|f| Box::pin(f) as Answer);
        *self.inner.script.lock().unwrap() = Some(Arc::new(script));
        self
    }

    /// A script that answers at once.
    pub fn replies(
        &self,
        script: impl Fn(&Call) -> Option<Response> + Send + Sync + 'static,
    ) -> &Self {
        self.script(move |call| script(call).map(|response| async move { response }))
    }

    pub fn remove_script(&self) {
        *self.inner.script.lock().unwrap() = None;
    }

    /// Stores a manifest under a tag and under its digest.
    pub fn put(&self, repository: &str, tag: &str, media: &str, body: &[u8]) -> Digest {
        let digest = Digest::of_sha256(body);
        let mut content = self.inner.content.lock().unwrap();
        for name in [tag, digest.as_str()] {
            let path = format!("/v2/{repository}/manifests/{name}");
            content.insert(path, (media.to_owned(), body.to_vec()));
        }
        digest
    }

    pub fn put_blob(&self, repository: &str, body: &[u8]) -> Digest {
        let digest = Digest::of_sha256(body);
        let path = format!("/v2/{repository}/blobs/{digest}");
        let stored = ("application/octet-stream".to_owned(), body.to_vec());
        self.inner.content.lock().unwrap().insert(path, stored);
        digest
    }

    /// A lone image for a platform.
    pub fn put_image(&self, repository: &str, tag: &str, os: &str, architecture: &str) -> Digest {
        let config = format!(r#"{{"os":"{os}","architecture":"{architecture}","for":"{tag}"}}"#);
        let config = self.put_blob(repository, config.as_bytes());
        self.put(repository, tag, MANIFEST, manifest(&config).as_bytes())
    }

    /// What was asked so far: `METHOD path status user`.
    pub fn log(&self) -> Vec<String> {
        self.inner.log.lock().unwrap().clone()
    }

    pub fn take_log(&self) -> Vec<String> {
        self.inner.calls.lock().unwrap().clear();
        std::mem::take(&mut self.inner.log.lock().unwrap())
    }

    pub fn calls(&self) -> Vec<Call> {
        self.inner.calls.lock().unwrap().clone()
    }

    /// How often a method was asked.
    pub fn count(&self, method: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(&format!("{method} "))).count()
    }

    pub fn reference(&self, rest: &str) -> ImageReference {
        ImageReference::parse(&format!("{}/{rest}", self.host())).unwrap()
    }
}

/// A manifest that names this configuration.
pub fn manifest(config: &Digest) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":1}},"layers":[]}}"#
    )
}

/// An index with an entry per platform.
pub fn index(platforms: &[(&str, &str)]) -> String {
    let entries: Vec<_> = platforms
        .iter()
        .map(|(os, architecture)| {
            format!(
                r#"{{"mediaType":"{MANIFEST}","digest":"{}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#,
                Digest::of_sha256(architecture.as_bytes())
            )
        })
        .collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, entries.join(","))
}

pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

/// An error envelope with this code.
pub fn envelope(status: u16, code: &str) -> Response {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"words of the registry"}}]}}"#);
    reply(status, &[("content-type", "application/json")], body)
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let delay = *inner.delay.lock().unwrap();
    if delay > Duration::ZERO {
        tokio::time::sleep(delay).await;
    }
    inner.calls.lock().unwrap().push(call.clone());
    let script = inner.script.lock().unwrap().clone();
    let scripted = script.and_then(|script| script(&call));
    let response = match scripted {
        Some(response) => response.await,
        None => inner.usual(&call),
    };
    let status = response.status().as_u16();
    let line = format!("{} {} {status} {}", call.method, call.path, call.user());
    inner.log.lock().unwrap().push(line.trim_end().to_owned());
    response
}

impl Inner {
    fn usual(&self, call: &Call) -> Response {
        let access = self.access.lock().unwrap().clone();
        if call.path == "/token" {
            return self.token(call, &access);
        }
        let repository = call
            .path
            .strip_prefix("/v2/")
            .and_then(|rest| {
                ["/manifests/", "/blobs/", "/tags/"].iter().find_map(|kind| rest.split_once(kind))
            })
            .map_or("", |(repository, _)| repository);
        if let Some(refusal) = self.refuse(call, &access, repository) {
            return refusal;
        }
        if call.path == "/v2/" {
            return reply(200, &[], "{}");
        }
        let content = self.content.lock().unwrap();
        let Some((media, body)) = content.get(&call.path) else {
            return envelope(404, "MANIFEST_UNKNOWN");
        };
        let digest = Digest::of_sha256(body);
        let headers = [
            ("content-type", media.as_str()),
            ("docker-content-digest", digest.as_str()),
            ("content-length", &body.len().to_string()),
        ];
        let body = if call.method == Method::HEAD { Vec::new() } else { body.clone() };
        reply(200, &headers, body)
    }

    fn refuse(&self, call: &Call, access: &Access, repository: &str) -> Option<Response> {
        let reads = |user: &User| user.repositories.iter().any(|r| r == repository || r == "*");
        match access {
            Access::Open => None,
            Access::Basic(users) => {
                let known = match call.proof() {
                    None => users.iter().find(|u| u.name.is_empty() && reads(u)),
                    Some(proof) => {
                        users.iter().find(|u| format!("{}:{}", u.name, u.password) == proof)
                    }
                };
                match known {
                    Some(user) if reads(user) => None,
                    Some(_) => Some(envelope(403, "DENIED")),
                    None => Some(challenged(401, r#"Basic realm="scripted""#, "UNAUTHORIZED")),
                }
            }
            Access::Token(users) => {
                let name = call.user();
                let has = call.proof().is_some();
                if has && users.iter().any(|u| u.name == name && reads(u)) {
                    return None;
                }
                let error = if has { ",error=\"insufficient_scope\"" } else { "" };
                let challenge = format!(
                    r#"Bearer realm="http://{}/token",service="scripted",scope="repository:{repository}:pull"{error}"#,
                    self.address
                );
                Some(challenged(401, &challenge, "UNAUTHORIZED"))
            }
        }
    }

    fn token(&self, call: &Call, access: &Access) -> Response {
        let Access::Token(users) = access else { return envelope(404, "UNSUPPORTED") };
        let proof = call.proof();
        let name = match &proof {
            None => String::new(),
            Some(proof) => {
                let known = users.iter().find(|u| format!("{}:{}", u.name, u.password) == *proof);
                match known {
                    Some(user) => user.name.clone(),
                    None => return envelope(401, "UNAUTHORIZED"),
                }
            }
        };
        let mut tokens = self.tokens.lock().unwrap();
        *tokens += 1;
        let body = format!(r#"{{"token":"tok-{name}#{}","expires_in":300}}"#, *tokens);
        reply(200, &[("content-type", "application/json")], body)
    }
}

/// A refusal with a challenge and an envelope.
pub fn challenged(status: u16, challenge: &str, code: &str) -> Response {
    let mut response = envelope(status, code);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
    response
}

/// Options that let a test reach its registries on loopback over plain HTTP.
pub fn options(registries: &[&Scripted]) -> RegistryOptions {
    let mut hosts = RegistryHosts::default();
    for registry in registries {
        hosts.insert(registry.host(), vec![endpoint(&registry.host())]);
    }
    RegistryOptions { contact_loopback: true, hosts, ..RegistryOptions::default() }
}

/// The registry itself, by plain HTTP.
pub fn endpoint(host: &str) -> Endpoint {
    Endpoint::at(format!("http://{host}/v2").parse().unwrap())
}

pub fn client(registries: &[&Scripted]) -> Arc<RegistryClient> {
    RegistryClient::new(options(registries)).unwrap()
}

pub fn credential(user: &str, password: &str) -> Credential {
    Credential::new(user, password, CredentialOrigin::Secret("pull".into()))
}

pub fn request(
    reference: &ImageReference,
    credential: Option<&Credential>,
    detail: Detail,
) -> LookupRequest {
    LookupRequest {
        reference: reference.clone(),
        credential: credential.cloned(),
        detail,
        max_age: None,
        purpose: Purpose::Verdict,
        namespace: Arc::default(),
    }
}

/// Asks for presence, with plenty of time.
pub async fn look(
    client: &RegistryClient,
    reference: &ImageReference,
    credential: Option<&Credential>,
) -> Lookup {
    client.look_up(request(reference, credential, Detail::Presence), soon()).await
}

/// The question for the tags beside an image.
pub fn tags_of(
    reference: &ImageReference,
    credential: Option<&Credential>,
    namespace: &str,
) -> ListRequest {
    ListRequest {
        reference: reference.clone(),
        listing: Listing::Tags,
        credential: credential.cloned(),
        namespace: namespace.into(),
    }
}

/// A deadline that no test reaches.
pub fn soon() -> Instant {
    // The runtime's clock, which tests let jump.
    tokio::time::Instant::now().into_std() + Duration::from_secs(30)
}

/// Whether it is throttled for this long, give or take the time that the test itself took.
pub fn is_throttled_for(outcome: &Outcome, wait: Duration) -> bool {
    let Outcome::Throttled { retry_after: Some(left) } = outcome else { return false };
    *left <= wait && *left + Duration::from_secs(5) > wait
}

/// The client's metrics as text.
pub fn exported(client: &RegistryClient) -> String {
    let (mut metrics, mut text) = (prometheus_client::registry::Registry::default(), String::new());
    client.metrics().register(&mut metrics);
    prometheus_client::encoding::text::encode(&mut text, &metrics).unwrap();
    text
}

/// What one series has counted; nothing counted yet is 0.
pub fn counted(client: &RegistryClient, series: &str) -> u64 {
    let text = exported(client);
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Whether this registry, which could not be reached, is left alone.
pub fn is_left_alone(client: &RegistryClient, host: &str) -> bool {
    counted(client, &format!("registry_breaker_open{{registry=\"{host}\"}}")) == 1
}

/// Requests of this kind so far.
pub fn requests(client: &RegistryClient, kind: &str) -> u64 {
    counted(client, &format!("registry_requests_total{{kind=\"{kind}\"}}"))
}
