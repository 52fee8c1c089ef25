//! The kubelet's credential providers: their configuration, the question to a plugin, its answer.
//!
//! Pure: running the plugin is an edge's work. The shapes are those of
//! `kubelet.config.k8s.io/v1` `CredentialProviderConfig` and of the exec protocol
//! `credentialprovider.kubelet.k8s.io/v1`
//! (<https://kubernetes.io/docs/tasks/administer-cluster/kubelet-credential-provider/>).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CredentialOrigin, DockerConfig, Keyring, pattern_fits};
use crate::duration::parse_go;
use crate::image::ImageReference;

/// The kubelet's `CredentialProviderConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ProviderConfig {
    /// The providers, in the order of the file.
    pub providers: Vec<Provider>,
}

/// One provider: a plugin, and for which images it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The name of the executable in the plugins' folder.
    pub name: Box<str>,
    /// Patterns of images, as keys of docker configurations.
    pub match_images: Vec<Box<str>>,
    /// How long an answer is kept that does not say so itself.
    pub default_cache_duration: Duration,
    /// The version of the exec protocol.
    pub api_version: Box<str>,
    /// Arguments of the plugin.
    pub args: Vec<String>,
    /// Variables set for the plugin beside those of the process.
    pub env: Vec<(String, String)>,
    /// Whether it wants a token of the pod's ServiceAccount (KEP-4412), which no webhook has.
    pub wants_token: bool,
}

/// Why a configuration cannot be used. The text names file, line and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It does not parse.
    #[error("{origin}{place}: {text}")]
    Unreadable {
        /// The file.
        origin: Box<str>,
        /// `:line:column`, where known.
        place: String,
        /// What is wrong.
        text: String,
    },
    /// It parses and breaks a rule that the kubelet checks at its start.
    #[error("{origin}: {field}: {problem}")]
    Invalid {
        /// The file.
        origin: Box<str>,
        /// The field.
        field: String,
        /// The rule.
        problem: &'static str,
    },
    /// A plugin's answer is not one.
    #[error("the answer of credential plugin {plugin} is not a CredentialProviderResponse")]
    Answer {
        /// The plugin.
        plugin: Box<str>,
    },
}

/// The versions of the configuration that kubelets take.
const CONFIG_VERSIONS: &[&str] = &[
    "kubelet.config.k8s.io/v1",
    "kubelet.config.k8s.io/v1beta1",
    "kubelet.config.k8s.io/v1alpha1",
];
/// The versions of the exec protocol that kubelets speak.
const PROTOCOL_VERSIONS: &[&str] = &[
    "credentialprovider.kubelet.k8s.io/v1",
    "credentialprovider.kubelet.k8s.io/v1beta1",
    "credentialprovider.kubelet.k8s.io/v1alpha1",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigView {
    api_version: String,
    kind: String,
    #[serde(default)]
    providers: Vec<ProviderView>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProviderView {
    name: String,
    #[serde(default)]
    match_images: Vec<String>,
    default_cache_duration: Option<String>,
    api_version: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<EnvView>,
    token_attributes: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvView {
    name: String,
    #[serde(default)]
    value: String,
}

/// For whom an answer may be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub(crate) enum CacheScope {
    /// For the same image.
    Image,
    /// For every image of the same registry.
    Registry,
    /// For every image.
    Global,
}

/// A plugin's answer.
#[derive(Debug, Clone)]
pub(crate) struct ProviderAnswer {
    /// For whom it may be reused.
    pub scope: CacheScope,
    /// How long it may be reused; zero is not at all.
    pub keep: Duration,
    /// The credentials.
    pub keyring: Keyring,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerView {
    api_version: String,
    kind: String,
    cache_key_type: CacheScope,
    cache_duration: Option<String>,
    #[serde(default)]
    auth: Option<BTreeMap<String, LoginView>>,
}

#[derive(Deserialize)]
struct LoginView {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    kind: &'static str,
    api_version: &'a str,
    image: &'a str,
}

impl ProviderConfig {
    /// Reads a configuration, YAML or JSON, and checks it as the kubelet does at its start.
    pub(crate) fn parse(text: &str, origin: &str) -> Result<Self, ProviderError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let view: ConfigView =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                let place = error
                    .location()
                    .map(|at| format!(":{}:{}", at.line(), at.column()))
                    .unwrap_or_default();
                ProviderError::Unreadable { origin: origin.into(), place, text: error.to_string() }
            })?;
        let invalid = |field: &str, problem| ProviderError::Invalid {
            origin: origin.into(),
            field: field.to_owned(),
            problem,
        };
        if !CONFIG_VERSIONS.contains(&&*view.api_version) || view.kind != "CredentialProviderConfig"
        {
            return Err(invalid(
                "apiVersion, kind",
                "is no CredentialProviderConfig of the kubelet",
            ));
        }
        if view.providers.is_empty() {
            return Err(invalid("providers", "needs at least one provider"));
        }
        let providers = view
            .providers
            .into_iter()
            .enumerate()
            .map(|(index, provider)| {
                let field = |name: &str| format!("providers[{index}].{name}");
                provider.check().map_err(|(name, problem)| invalid(&field(name), problem))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { providers })
    }
}

impl ProviderView {
    fn check(self) -> Result<Provider, (&'static str, &'static str)> {
        let name = &*self.name;
        if name.is_empty() || name.contains(['/', '\\', ' ']) || name == "." || name == ".." {
            return Err(("name", "must be the bare name of an executable"));
        }
        if self.match_images.is_empty() {
            return Err(("matchImages", "needs at least one pattern"));
        }
        if !PROTOCOL_VERSIONS.contains(&&*self.api_version) {
            return Err(("apiVersion", "is no version of the exec protocol"));
        }
        let duration = self.default_cache_duration.as_deref().and_then(parse_go);
        let Some(default_cache_duration) = duration else {
            return Err(("defaultCacheDuration", "must be a duration such as 12h or 1h30m"));
        };
        Ok(Provider {
            name: self.name.into(),
            match_images: self.match_images.into_iter().map(Into::into).collect(),
            default_cache_duration,
            api_version: self.api_version.into(),
            args: self.args,
            env: self.env.into_iter().map(|env| (env.name, env.value)).collect(),
            wants_token: self.token_attributes.is_some(),
        })
    }
}

impl Provider {
    /// Whether it is asked about this image.
    pub fn matches(&self, image: &ImageReference) -> bool {
        self.match_images.iter().any(|pattern| pattern_fits(pattern, image))
    }

    /// What the plugin reads: the image without tag and digest, as the kubelet's keyring has it.
    pub fn question(&self, image: &ImageReference) -> Vec<u8> {
        let question = Question {
            kind: "CredentialProviderRequest",
            api_version: &self.api_version,
            image: image.name(),
        };
        serde_json::to_vec(&question).unwrap_or_default()
    }

    /// What the plugin wrote.
    pub(crate) fn read_answer(&self, output: &[u8]) -> Result<ProviderAnswer, ProviderError> {
        let no_answer = || ProviderError::Answer { plugin: self.name.clone() };
        let view: AnswerView = serde_json::from_slice(output).map_err(|_| no_answer())?;
        if *view.api_version != *self.api_version || view.kind != "CredentialProviderResponse" {
            return Err(no_answer());
        }
        let keep = match view.cache_duration.as_deref() {
            Some(written) => parse_go(written).ok_or_else(no_answer)?,
            None => self.default_cache_duration,
        };
        let auth = view.auth.unwrap_or_default();
        let logins = auth.iter().map(|(key, login)| (&**key, &*login.username, &*login.password));
        let origin = CredentialOrigin::NodePlugin((&*self.name).into());
        let keyring = Keyring::from_config(&DockerConfig::from_logins(logins), &origin);
        Ok(ProviderAnswer { scope: view.cache_key_type, keep, keyring })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const CONFIG: &str = "apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: ecr
  matchImages: ['*.dkr.ecr.*.amazonaws.com', 'reg.example.com:5000/team']
  defaultCacheDuration: 1h30m
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  args: [get]
  env: [{name: A, value: b}]
";

    fn provider() -> Provider {
        ProviderConfig::parse(CONFIG, "p.yaml").unwrap().providers.remove(0)
    }

    #[test]
    fn reads_what_the_kubelet_reads() {
        let provider = provider();
        assert_eq!(provider.default_cache_duration, Duration::from_secs(5400));
        assert!(!provider.wants_token);
        let matches = |image| provider.matches(&ImageReference::parse(image).unwrap());
        assert!(matches("123.dkr.ecr.eu-west-1.amazonaws.com/app:1"));
        assert!(matches(
            "reg.example.com:5000/team/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ));
        assert!(!matches("reg.example.com/team/app"));
    }

    #[rstest]
    #[case("providers: [", "p.yaml:")]
    #[case(&CONFIG.replace("CredentialProviderConfig", "Pod"), "kubelet")]
    #[case(&CONFIG.replace("name: ecr", "name: ../ecr"), "providers[0].name")]
    #[case(&CONFIG.replace("1h30m", "soon"), "providers[0].defaultCacheDuration")]
    #[case(&CONFIG.replace("io/v1\n  args", "io/v9\n  args"), "providers[0].apiVersion")]
    #[case(&CONFIG.replace("args:", "arguments:"), "p.yaml:8:3")]
    fn what_the_kubelet_refuses_is_refused_with_its_place(#[case] text: &str, #[case] said: &str) {
        let error = ProviderConfig::parse(text, "p.yaml").unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn a_token_plugin_is_recognised() {
        let text = CONFIG.replace("  args:", "  tokenAttributes: {serviceAccountTokenAudience: a, requireServiceAccount: true}\n  args:");
        assert!(ProviderConfig::parse(&text, "p").unwrap().providers[0].wants_token);
    }

    #[test]
    fn asks_and_reads_as_the_exec_protocol_has_it() {
        let provider = provider();
        let image = ImageReference::parse("reg.example.com:5000/team/app:1").unwrap();
        insta::assert_snapshot!(
            String::from_utf8(provider.question(&image)).unwrap(),
            @r#"{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"reg.example.com:5000/team/app"}"#
        );
        let answer = provider.read_answer(br#"{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","cacheDuration":"0","auth":{"*.example.com:5000":{"username":"u","password":"p"}}}"#).unwrap();
        assert_eq!((answer.scope, answer.keep), (CacheScope::Registry, Duration::ZERO));
        assert_eq!(answer.keyring.lookup(&image).len(), 1);
        assert!(provider.read_answer(b"junk").is_err());
    }

    #[rstest]
    #[case("12h0m0s", Some(43_200_000))]
    #[case("1.5s", Some(1500))]
    #[case("500ms", Some(500))]
    #[case("0", Some(0))]
    #[case("", None)]
    #[case("5", None)]
    #[case("-1s", None)]
    #[case("1d", None)]
    fn durations_are_those_of_go(#[case] text: &str, #[case] milliseconds: Option<u64>) {
        assert_eq!(parse_go(text), milliseconds.map(Duration::from_millis));
    }
}
