//! Pull secrets whose content was given on the command line: a pipeline seldom may read them in the
//! cluster.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use k8s_openapi::ByteString;

use crate::cli::output::say;
use crate::credential::PullSecret;
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::text::clean;

/// Bytes of one file: what a Secret can hold.
const MAX_BYTES: u64 = 1 << 20;

/// A file, and the secret that it is the content of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
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
                Ok(config) if config.is_empty() => say(format_args!(
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
}
