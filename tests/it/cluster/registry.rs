//! Real registries (distribution v3) on loopback: anonymous, with Basic authentication, or with
//! tokens; over plain HTTP, as runtimes speak to loopback registries, or over TLS.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::json;
use tempfile::TempDir;

use super::images::Image;
use super::pki::Authority;
use super::process::{self, Process};
use super::token_server::{ISSUER, SERVICE, TokenServer};
use super::{free_port, runtime, wait_until};

/// A user of the registries that ask who one is: name, password, its bcrypt hash.
pub type RegistryUser<'a> = (&'a str, &'a str, &'a str);
/// The user of pull secrets that work.
pub const PULLER: RegistryUser<'static> = (
    "shop-puller",
    "shop-pull-password",
    "$2a$04$G/gawHTDq7O1pAwbKrhpj.DHH5KHMzNClo3FZTrB2hgKvE0hGQOGy",
);
/// Another one.
pub const OTHER: RegistryUser<'static> = (
    "other-puller",
    "other-pull-password",
    "$2a$04$sDmtOwYx.DoI.7.lxwky.eLgIzwByqeTQY73lClIHrWp3f8BnDG4C",
);

/// Who may pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Anonymous,
    /// The known users, by name and password with every request.
    Basic,
    /// The known users, and for `public/…` anybody, with a token of a token service.
    Token,
}

/// A registry that runs, or was stopped and can be started again on the same port.
#[derive(Debug)]
pub struct Registry {
    process: Option<Process>,
    program: PathBuf,
    folder: TempDir,
    port: u16,
    access: Access,
    tokens: Option<TokenServer>,
    client: reqwest::Client,
    scheme: &'static str,
    /// Whose clients alone are let in, where those have to show a certificate.
    clients: Option<String>,
}

impl Registry {
    /// Starts a registry over plain HTTP and waits until it answers.
    pub fn start(programs: &Path, access: Access) -> Result<Self, String> {
        Self::start_with(programs.join("registry"), access, None)
    }

    /// Starts another program that takes the same arguments and configuration, over plain HTTP.
    pub fn start_program(program: PathBuf, access: Access) -> Result<Self, String> {
        Self::start_with(program, access, None)
    }

    /// Starts a registry over TLS with a certificate that `authority` gave it.
    pub fn start_tls(
        programs: &Path,
        access: Access,
        authority: &Authority,
    ) -> Result<Self, String> {
        Self::start_with(programs.join("registry"), access, Some(authority))
    }

    fn start_with(
        program: PathBuf,
        access: Access,
        authority: Option<&Authority>,
    ) -> Result<Self, String> {
        // The runtime also sets the cryptography provider that the client asks for.
        let _in_runtime = runtime().enter();
        let mut client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
        if let Some(authority) = authority {
            let certificate = reqwest::Certificate::from_pem(authority.certificate().as_bytes());
            client = client.tls_certs_only(certificate.ok());
        } else {
            client = client.tls_certs_only([]);
        }
        let mut registry = Self {
            process: None,
            program,
            folder: process::folder("registry"),
            port: 0,
            access,
            tokens: (access == Access::Token).then(TokenServer::start).transpose()?,
            client: client.build().map_err(|error| error.to_string())?,
            scheme: if authority.is_some() { "https" } else { "http" },
            clients: None,
        };
        if let Some(authority) = authority {
            let identity = authority.server(&["127.0.0.1", "localhost"]);
            registry.write("server.crt", &identity.certificate)?;
            registry.write("server.key", &identity.key)?;
        }
        for attempt in 1..=3 {
            registry.port = free_port();
            match registry.start_again() {
                Err(reason) if attempt < 3 && reason.contains("address already in use") => {}
                started => return started.map(|()| registry),
            }
        }
        unreachable!("the third attempt returns")
    }

    /// Starts it (again) on its port, with what was pushed before.
    pub fn start_again(&mut self) -> Result<(), String> {
        let config = self.write("config.yml", &self.configuration())?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
        let mut process = Process::start("registry", &mut command, self.folder.path())?;
        wait_until("the registry", || {
            process.still_runs()?;
            let answer = send(self.client.get(self.url("/v2/")))?;
            match answer.0 {
                StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(()),
                status => Err(format!("{status}").into()),
            }
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts it anew so that it lets in nobody but clients with a certificate of this authority.
    pub fn let_in_clients_of(
        &mut self,
        clients: &Authority,
        own: &Authority,
    ) -> Result<(), String> {
        self.stop();
        let _in_runtime = runtime().enter();
        let me = clients.client("test");
        let identity = reqwest::Identity::from_pem((me.certificate + &me.key).as_bytes());
        let trusted = reqwest::Certificate::from_pem(own.certificate().as_bytes());
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
        let client = client.tls_certs_only(trusted.ok());
        let client = client.identity(identity.map_err(|error| chain(&error))?).build();
        self.client = client.map_err(|error| chain(&error))?;
        self.clients = Some(clients.certificate());
        self.start_again()
    }

    /// Stops it: from now on its port refuses connections.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Its host as image names write it: `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// An image name of this registry.
    pub fn image(&self, repository_and_tag: &str) -> String {
        format!("{}/{repository_and_tag}", self.host())
    }

    /// Its token service, if it has one.
    pub fn tokens(&self) -> Option<&TokenServer> {
        self.tokens.as_ref()
    }

    /// The requests it has logged so far, one line each, in the combined log format.
    pub fn requests(&self) -> Vec<String> {
        let output = self.process.as_ref().map(Process::output).unwrap_or_default();
        output.lines().filter(|line| line.contains(" HTTP/")).map(str::to_owned).collect()
    }

    /// A docker configuration (`.dockerconfigjson`) with which `user` logs in here.
    pub fn docker_config(&self, user: RegistryUser<'_>) -> String {
        let auth = STANDARD.encode(format!("{}:{}", user.0, user.1));
        json!({"auths": {self.host(): {"auth": auth}}}).to_string()
    }

    /// A pull secret object with that configuration.
    pub fn pull_secret(
        &self,
        name: &str,
        namespace: &str,
        user: RegistryUser<'_>,
    ) -> serde_json::Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name, "namespace": namespace},
            "data": {".dockerconfigjson": STANDARD.encode(self.docker_config(user))},
        })
    }

    /// Pushes `image` under all of `tags`.
    ///
    /// # Panics
    /// When the registry refuses it.
    pub fn push(&self, repository: &str, tags: &[&str], image: &Image) {
        let pushed = runtime().block_on(self.push_async(repository, tags, image));
        pushed.unwrap_or_else(|error| panic!("push of {repository}: {error}"));
    }

    /// Takes a tag away, as somebody who cleans up does.
    ///
    /// # Panics
    /// When it is not there.
    pub fn untag(&self, repository: &str, tag: &str) {
        let storage = self.folder.path().join("storage/docker/registry/v2/repositories");
        let tags = storage.join(repository).join("_manifests/tags").join(tag);
        fs::remove_dir_all(&tags).unwrap_or_else(|error| panic!("{}: {error}", tags.display()));
    }

    /// Status, media type and body that the registry answers to a GET of a manifest, asked by
    /// `user` (name and password; ignored by a token registry).
    pub fn manifest(
        &self,
        repository: &str,
        tag: &str,
        user: Option<RegistryUser<'_>>,
    ) -> Result<(StatusCode, String, String), String> {
        let url = self.url(&format!("/v2/{repository}/manifests/{tag}"));
        let accept = "application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.oci.image.index.v1+json";
        let mut request = self.client.get(url).header(header::ACCEPT, accept);
        if let Some((name, password, _)) = user {
            request = request.basic_auth(name, Some(password));
        }
        send(request)
    }

    /// The same, for those who are not to wait in a runtime; refusals are errors.
    pub async fn push_async(
        &self,
        repository: &str,
        tags: &[&str],
        image: &Image,
    ) -> Result<(), String> {
        for blob in &image.blobs {
            let start = self.url(&format!("/v2/{repository}/blobs/uploads/"));
            let started = self.write_request(Method::POST, &start, repository).send().await;
            let started = expect(started, StatusCode::ACCEPTED)?;
            let place = started.headers().get(header::LOCATION);
            let place = place.and_then(|value| value.to_str().ok()).unwrap_or_default();
            let joined = started.url().join(place).map_err(|error| error.to_string())?;
            let mut upload = joined.clone();
            upload.query_pairs_mut().append_pair("digest", &blob.digest);
            let put = self.write_request(Method::PUT, upload.as_str(), repository);
            expect(put.body(blob.bytes.clone()).send().await, StatusCode::CREATED)?;
        }
        let last = image.manifests.len() - 1;
        for (place, (media_type, manifest)) in image.manifests.iter().enumerate() {
            let names = if place == last { tags } else { &[manifest.digest.as_str()][..] };
            for name in names {
                let url = self.url(&format!("/v2/{repository}/manifests/{name}"));
                let put = self
                    .write_request(Method::PUT, &url, repository)
                    .header(header::CONTENT_TYPE, *media_type)
                    .body(manifest.bytes.clone());
                expect(put.send().await, StatusCode::CREATED)?;
            }
        }
        Ok(())
    }

    /// A request of somebody who may push.
    fn write_request(&self, method: Method, url: &str, repository: &str) -> RequestBuilder {
        let request = self.client.request(method, url);
        match (&self.tokens, self.access) {
            (Some(tokens), _) => request.bearer_auth(tokens.token_to_push(repository)),
            (None, Access::Basic) => request.basic_auth(PULLER.0, Some(PULLER.1)),
            (None, _) => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host())
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.folder.path().join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn configuration(&self) -> String {
        let folder = self.folder.path().display();
        let mut text = format!(
            "version: 0.1\nlog: {{level: info}}\n\
             storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}\n\
             http:\n  addr: 127.0.0.1:{}\n  secret: not-a-secret\n",
            self.port
        );
        if self.scheme == "https" {
            let mut clients = String::new();
            if let Some(authority) = &self.clients {
                let _ = self.write("clients.crt", authority);
                clients = format!(", clientcas: [{folder}/clients.crt]");
            }
            let _ = writeln!(
                text,
                "  tls: {{certificate: {folder}/server.crt, key: {folder}/server.key{clients}}}"
            );
        }
        if self.access == Access::Basic {
            let users = [PULLER, OTHER].map(|(name, _, hash)| format!("{name}:{hash}\n")).concat();
            let _ = self.write("htpasswd", &users);
            let _ = writeln!(text, "auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}");
        }
        if let Some(tokens) = &self.tokens {
            let _ = self.write("tokens.crt", tokens.authority());
            let _ = writeln!(
                text,
                "auth: {{token: {{realm: \"{}\", service: {SERVICE}, issuer: {ISSUER}, \
                 rootcertbundle: {folder}/tokens.crt}}}}",
                tokens.url()
            );
        }
        text
    }
}

/// Status, media type and body of an answer.
fn send(request: RequestBuilder) -> Result<(StatusCode, String, String), String> {
    runtime().block_on(async {
        let response = request.send().await.map_err(|error| chain(&error))?;
        let status = response.status();
        let media_type = response.headers().get(header::CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.to_owned();
        let body = response.text().await.map_err(|error| chain(&error))?;
        Ok((status, media_type, body))
    })
}

fn expect(
    answer: reqwest::Result<reqwest::Response>,
    status: StatusCode,
) -> Result<reqwest::Response, String> {
    match answer {
        Ok(response) if response.status() == status => Ok(response),
        Ok(response) => Err(format!("{} instead of {status}", response.status())),
        Err(error) => Err(chain(&error)),
    }
}

/// An error with its causes: `reqwest` names the interesting one last.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
