//! Credentials that are at hand: pull secrets whose content was given on the command line (a pipeline
//! seldom may read them in the cluster), and the person's own login for a registry, from their docker
//! configuration and its helpers.
//!
//! Helpers are programs that may hang: they run in threads of their own, and are waited for only
//! so long. Nothing that they print is shown.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use k8s_openapi::ByteString;
use tokio::sync::Mutex;

use crate::cli::print_message;
use crate::credential::{Credential, CredentialOrigin, PullSecret};
use crate::image::DOCKER_HUB;
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::text::clean;

/// Bytes of one file: what a Secret can hold.
const MAX_BYTES: u64 = 1 << 20;

/// A file, and the secret that it is the content of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretFile {
    /// Its namespace, if it is that of one namespace.
    namespace: Option<Box<str>>,
    /// Its name; nothing if the file stands in for every secret that is not to be had.
    name: Option<Box<str>>,
    path: PathBuf,
}

impl FromStr for SecretFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.split_once('=').and_then(|(secret, path)| {
            let (namespace, name) = match secret.split_once('/') {
                Some((namespace, name)) => (Some(namespace), name),
                None => (None, secret),
            };
            let is_name = is_object_name(name) && namespace.is_none_or(is_namespace_name);
            is_name.then(|| (namespace.map(Box::from), Box::from(name), path))
        });
        let (namespace, name, path) = match named {
            Some((namespace, name, path)) => (namespace, Some(name), path),
            None => (None, None, text),
        };
        if path.is_empty() {
            return Err("name a file".to_owned());
        }
        Ok(Self { namespace, name, path: path.into() })
    }
}

/// The secrets that were given.
#[derive(Debug, Default)]
pub(super) struct GivenSecrets {
    named: BTreeMap<(Option<Box<str>>, Box<str>), PullSecret>,
    any: Option<PullSecret>,
}

impl GivenSecrets {
    /// Reads the files. What a kubelet could not read is told now, not as a finding.
    pub(super) fn read(files: &[SecretFile]) -> anyhow::Result<Self> {
        let mut given = Self::default();
        for SecretFile { namespace, name, path } in files {
            let shown = clean(&path.display().to_string());
            let own = path.file_name().map(|name| clean(&name.to_string_lossy()));
            let called = name.as_deref().or(own.as_deref()).unwrap_or("given");
            let mut content = Vec::new();
            File::open(path)
                .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content))
                .with_context(|| format!("failed to read the pull secret {shown}"))?;
            let secret = secret(called, &content);
            match secret.read() {
                Ok(config) if config.is_empty() => print_message(format_args!(
                    "{shown} holds no login; one that a credential helper keeps is not in it"
                )),
                Ok(_) => {}
                Err(problem) => {
                    bail!("{shown} is no docker configuration that nodes could use: {problem}")
                }
            }
            match name {
                Some(name) => {
                    given.named.insert((namespace.clone(), name.clone()), secret);
                }
                None if given.any.is_some() => {
                    bail!(
                        "only one pull secret can stand in for all: name the others, as in NAME={shown}"
                    )
                }
                None => given.any = Some(secret),
            }
        }
        Ok(given)
    }

    /// The one that was given under this name.
    pub(super) fn named(&self, namespace: &str, name: &str) -> Option<&PullSecret> {
        let of =
            |namespace: Option<&str>| self.named.get(&(namespace.map(Box::from), Box::from(name)));
        of(Some(namespace)).or_else(|| of(None))
    }

    /// The one that stands in for those that are not to be had.
    pub(super) const fn stand_in(&self) -> Option<&PullSecret> {
        self.any.as_ref()
    }
}

/// The content in the form that it has: `{"auths": …}`, or the older one without.
fn secret(name: &str, content: &[u8]) -> PullSecret {
    let value: Option<serde_json::Value> = serde_json::from_slice(content).ok();
    let logins = |value: &serde_json::Value| {
        value.as_object().is_some_and(|all| {
            !all.is_empty()
                && all.values().all(|one| one.get("auth").or(one.get("password")).is_some())
        })
    };
    if value.as_ref().is_some_and(|value| value.get("auths").is_none() && logins(value)) {
        let data = BTreeMap::from([(".dockercfg".to_owned(), ByteString(content.to_vec()))]);
        return PullSecret::new(name, "kubernetes.io/dockercfg", &data);
    }
    PullSecret::docker_config_json(name, content)
}

/// How long a credential helper may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The name under which docker keeps the login of Docker Hub.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// What was found for one registry.
#[derive(Debug, Clone)]
pub(super) enum Login {
    /// A user name and password.
    Found(Credential),
    /// There is none.
    None,
    /// There may be one that could not be had, for this reason.
    Failed(&'static str),
}

/// The logins of the person at the command line, each looked for once.
#[derive(Default)]
pub(super) struct Logins {
    known: Mutex<HashMap<Box<str>, Login>>,
}

impl Logins {
    /// The login for a registry, by its host as it stands in image names.
    pub(super) async fn of(&self, host: &str) -> Login {
        let mut known = self.known.lock().await;
        if let Some(login) = known.get(host) {
            return login.clone();
        }
        let server = if host == DOCKER_HUB { HUB_SERVER } else { host }.to_owned();
        let (tell, told) = tokio::sync::oneshot::channel();
        // Not a blocking task of the runtime: that one would be waited for at the end.
        std::thread::spawn(move || tell.send(read_login(&server)));
        let login = match tokio::time::timeout(PATIENCE, told).await {
            Ok(login) => login.unwrap_or(Login::Failed("it could not be read")),
            Err(_) => Login::Failed("the credential helper did not answer in 10 s"),
        };
        known.insert(host.into(), login.clone());
        login
    }
}

/// Docker's configuration: `config.json` in the directory that the environment names, else in the
/// person's own. An empty variable names none, as for docker: with one, a `config.json` that lies in
/// the working directory would choose programs to run.
fn config_file(named: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let named = named.filter(|directory| !directory.is_empty()).map(PathBuf::from);
    let directory = named.or_else(|| home.map(|home| home.join(".docker")))?;
    Some(directory.join("config.json"))
}

fn read_login(server: &str) -> Login {
    use CredentialRetrievalError as Fault;
    let file = config_file(std::env::var_os("DOCKER_CONFIG"), std::env::home_dir());
    let Some(file) = file.and_then(|path| File::open(path).ok()) else { return Login::None };
    match get_credential_from_reader(file, server) {
        Ok(DockerCredential::UsernamePassword(username, password)) if !username.is_empty() => {
            Login::Found(Credential::new(&username, &password, CredentialOrigin::User))
        }
        Ok(DockerCredential::IdentityToken(_)) => {
            Login::Failed("it is an identity token, which nodes cannot use either")
        }
        // An entry without a user name is none, and helpers fail where they have no login.
        Ok(DockerCredential::UsernamePassword(..))
        | Err(
            Fault::NoCredentialConfigured
            | Fault::ConfigNotFound
            | Fault::ConfigReadError
            | Fault::HelperFailure { .. },
        ) => Login::None,
        Err(Fault::HelperCommunicationError) => {
            Login::Failed("its credential helper could not be run")
        }
        Err(Fault::MalformedHelperResponse) => {
            Login::Failed("its credential helper answered nonsense")
        }
        Err(Fault::CredentialDecodingError | Fault::CredentialMismatchError) => {
            Login::Failed("its entry in your docker config is broken")
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a/b.json", None, None, "a/b.json")]
    #[case("regcred=a/b.json", None, Some("regcred"), "a/b.json")]
    #[case("shop/regcred=b.json", Some("shop"), Some("regcred"), "b.json")]
    #[case("./a=b.json", None, None, "./a=b.json")]
    fn files_and_the_secrets_that_they_are(
        #[case] text: &str,
        #[case] namespace: Option<&str>,
        #[case] name: Option<&str>,
        #[case] path: &str,
    ) {
        let read: SecretFile = text.parse().unwrap();
        assert_eq!((read.namespace.as_deref(), read.name.as_deref()), (namespace, name));
        assert_eq!(read.path, PathBuf::from(path));
        assert!("regcred=".parse::<SecretFile>().is_err());
    }

    #[rstest]
    #[case(r#"{"auths": {"r.example": {"auth": "YTpi"}}}"#, 1)]
    #[case(r#"{"r.example": {"auth": "YTpi"}}"#, 1)]
    #[case(r#"{"auths": {}, "credsStore": "desktop"}"#, 0)]
    fn both_forms_are_read(#[case] content: &str, #[case] logins: usize) {
        assert_eq!(secret("s", content.as_bytes()).read().unwrap().len(), logins);
    }

    #[rstest]
    #[case::named(Some("/d"), Some("/h"), Some("/d/config.json"))]
    #[case::empty(Some(""), Some("/h"), Some("/h/.docker/config.json"))]
    #[case::own(None, Some("/h"), Some("/h/.docker/config.json"))]
    #[case::nowhere(Some(""), None, None)]
    fn where_dockers_configuration_is(
        #[case] named: Option<&str>,
        #[case] home: Option<&str>,
        #[case] file: Option<&str>,
    ) {
        let found = config_file(named.map(OsString::from), home.map(PathBuf::from));
        assert_eq!(found, file.map(PathBuf::from));
    }
}
