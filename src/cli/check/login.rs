//! The person's own login for a registry, from their docker configuration and its helpers.
//!
//! Helpers are programs that may hang: they run in threads of their own, and are waited for only
//! so long. Nothing that they print is shown.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use tokio::sync::Mutex;

use crate::credential::{Credential, CredentialOrigin};
use crate::image::DOCKER_HUB;

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
        std::thread::spawn(move || tell.send(ask(&server)));
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

fn ask(server: &str) -> Login {
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
