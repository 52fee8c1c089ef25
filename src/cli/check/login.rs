//! The person's own login for a registry, from their docker configuration and its helpers.
//!
//! Helpers are programs that may hang: they run in threads of their own, and are waited for only
//! so long. Nothing that they print is shown.

use std::collections::HashMap;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};
use tokio::sync::Mutex;

use crate::credential::{Credential, CredentialOrigin};

/// How long a credential helper may take.
const PATIENCE: Duration = Duration::from_secs(10);
const HUB: &str = "docker.io";
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
        let server = if host == HUB { HUB_SERVER } else { host }.to_owned();
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

fn ask(server: &str) -> Login {
    use CredentialRetrievalError as Fault;
    match get_credential(server) {
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
