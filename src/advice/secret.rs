//! What is wrong with a pull secret that the pod names, exactly, and the command that mends it.
//!
//! Nothing of a secret's content is repeated: neither its type nor the registries it is for.

use super::{Advice, AdviceKind};
use crate::image::DOCKER_HUB;

/// Docker Hub's login server, as its own tools name it.
const HUB_SERVER: &str = "https://index.docker.io/v1/";
/// The longest name of an object.
const MAX_NAME: usize = 253;

/// Why a pull secret is of no use for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretFault {
    /// It does not exist (yet).
    Missing,
    /// It is no pull secret by its type.
    WrongType,
    /// It lacks the data of its type.
    Empty,
    /// Its content cannot be read, so the kubelet gives up.
    Malformed,
    /// It has no login for the image's registry.
    OtherHost,
    /// The registry refuses its login.
    Rejected {
        /// Whether the same image was pulled here before.
        worked_before: bool,
    },
}

impl SecretFault {
    /// Every fault.
    pub const ALL: &'static [Self] = &[
        Self::Missing,
        Self::WrongType,
        Self::Empty,
        Self::Malformed,
        Self::OtherHost,
        Self::Rejected { worked_before: false },
        Self::Rejected { worked_before: true },
    ];
}

/// What to say and do about a secret, for an image of `host`.
pub fn fix_secret(name: &str, namespace: &str, host: &str, fault: SecretFault) -> Advice {
    let message = match fault {
        SecretFault::Missing => {
            format!("pull secret {name} not found in namespace {namespace} (yet)")
        }
        SecretFault::WrongType => {
            format!("secret {name} is not of a pull secret's type, so nodes ignore it")
        }
        SecretFault::Empty => format!("secret {name} holds no login, so nodes ignore it"),
        SecretFault::Malformed => format!("recreate secret {name}"),
        SecretFault::OtherHost => format!("secret {name} has no login for {host}"),
        SecretFault::Rejected { worked_before: true } => {
            format!("this image was pulled here before: update secret {name}")
        }
        SecretFault::Rejected { worked_before: false } => format!("update secret {name}"),
    };
    let command = match fault {
        SecretFault::Missing => create_command(name, namespace, host),
        // The type of a secret cannot be changed.
        SecretFault::WrongType => create_command(name, namespace, host)
            .map(|create| format!("kubectl delete secret {name} -n {namespace} && {create}")),
        // Its logins for other registries stay where they are.
        SecretFault::OtherHost => create_command(&login_name(host), namespace, host),
        SecretFault::Empty | SecretFault::Malformed | SecretFault::Rejected { .. } => {
            create_command(name, namespace, host)
                .map(|create| format!("{create} --dry-run=client -o yaml | kubectl replace -f -"))
        }
    };
    Advice { kind: AdviceKind::FixSecret, value: name.into(), message, command }
}

/// The command that makes a pull secret; what only the person knows is in angle brackets. None if
/// a name is not one that may stand in a command as it is.
fn create_command(name: &str, namespace: &str, host: &str) -> Option<String> {
    let server = if host == DOCKER_HUB { HUB_SERVER } else { host };
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-._:/[]".contains(&b);
    (is_plain(name) && is_plain(namespace) && server.bytes().all(harmless)).then(|| {
        format!(
            "kubectl create secret docker-registry {name} -n {namespace} \
             --docker-server='{server}' --docker-username='<user>' --docker-password='<password>'"
        )
    })
}

/// A pull secret whose login works now and expires soon.
pub fn secret_expires(name: &str, minutes: i64) -> Advice {
    let message = format!("the login in secret {name} expires in {}: renew it", time(minutes));
    Advice::new(AdviceKind::SecretExpires, name, message)
}

/// A client certificate of the nodes that is good now and expires soon.
pub fn certificate_expires(minutes: i64) -> Advice {
    let message = format!(
        "the client certificate that nodes show to its registry expires in {}: renew it",
        time(minutes)
    );
    Advice::new(AdviceKind::CertificateExpires, "", message)
}

fn time(minutes: i64) -> String {
    match minutes {
        ..90 => format!("{} min", minutes.max(0)),
        _ => format!("{} h", (minutes + 30) / 60),
    }
}

/// Whether a name may stand in a command as it is.
pub(super) fn is_plain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    !text.is_empty() && text.len() <= MAX_NAME && !text.starts_with('-') && text.bytes().all(plain)
}

/// The command that makes a pull secret for one registry, under a name made of its host.
pub(crate) fn login_command(namespace: &str, host: &str) -> Option<String> {
    create_command(&login_name(host), namespace, host)
}

/// A name for a secret that is for one registry.
pub(crate) fn login_name(host: &str) -> String {
    let word: String = host
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("pull-{}", word.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_fits_the_fault() {
        let command = |fault| fix_secret("regcred", "shop", "reg.example.com:5000", fault).command;
        insta::assert_snapshot!(command(SecretFault::Missing).unwrap(), @"kubectl create secret docker-registry regcred -n shop --docker-server='reg.example.com:5000' --docker-username='<user>' --docker-password='<password>'");
        insta::assert_snapshot!(command(SecretFault::WrongType).unwrap(), @"kubectl delete secret regcred -n shop && kubectl create secret docker-registry regcred -n shop --docker-server='reg.example.com:5000' --docker-username='<user>' --docker-password='<password>'");
        insta::assert_snapshot!(command(SecretFault::OtherHost).unwrap(), @"kubectl create secret docker-registry pull-reg-example-com-5000 -n shop --docker-server='reg.example.com:5000' --docker-username='<user>' --docker-password='<password>'");
        insta::assert_snapshot!(command(SecretFault::Malformed).unwrap(), @"kubectl create secret docker-registry regcred -n shop --docker-server='reg.example.com:5000' --docker-username='<user>' --docker-password='<password>' --dry-run=client -o yaml | kubectl replace -f -");
        assert!(create_command("a", "b", "docker.io").unwrap().contains("index.docker.io/v1/"));
    }

    #[test]
    fn names_that_could_be_more_than_names_give_no_command() {
        for name in ["a; rm -rf x", "$(x)", "a'b", "-n", "", "A"] {
            assert_eq!(create_command(name, "shop", "reg.example.com"), None, "{name}");
        }
    }
}
