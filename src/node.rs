//! The credentials that nodes hold themselves, as far as Pullgate was given the nodes' own files:
//! a docker configuration and the kubelet's credential plugins.
//!
//! An edge: it runs the plugins, each bounded in time and output. What a plugin answered is kept
//! in memory for as long as it says, and never logged.

mod exec;
mod reload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use moka::Expiry;
use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::credential::{
    AuthFile, CacheScope, Credential, CredentialOrigin, DockerConfig, Keyring, Provider,
    ProviderConfig, ProviderError, RuntimeLogin,
};
use crate::image::ImageReference;
use crate::review::{NodeCredentialSource, NodeCredentials};

pub use reload::{FollowedNodeFiles, NodeFilePaths};

/// Answers kept at most.
const MAX_ANSWERS: u64 = 10_000;
/// An answer whose plugin says that it must not be kept still serves who asks at the same time.
const SAME_TIME: Duration = Duration::from_secs(1);
/// How long a plugin that failed is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(15);

/// Plugins that run for one registry at the same time: the images of one that is slow leave room
/// for others.
const MOST_PER_REGISTRY: usize = 2;

/// Why the nodes' files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration of the plugins is not one.
    #[error("failed to use the credential provider configuration")]
    Config(#[from] ProviderError),
    /// The docker configuration is not one.
    #[error("failed to use the nodes' docker configuration {}: it does not parse", path.display())]
    DockerConfig {
        /// The file.
        path: PathBuf,
    },
    /// A plugin is not there.
    #[error("credential plugin {} is not an executable file", path.display())]
    NoPlugin {
        /// Where it should be.
        path: PathBuf,
    },
}

/// The nodes' own credentials.
pub struct NodeFiles {
    config: Option<Keyring>,
    /// The same file as CRI-O reads it.
    auth_file: AuthFile,
    providers: Vec<Arc<Provider>>,
    plugins: PathBuf,
    answers: Cache<Key, Answer>,
    /// Those that run for one registry.
    running: Cache<Box<str>, Arc<Semaphore>>,
}

/// Which plugin, and for what its answer counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    plugin: usize,
    subject: Box<str>,
}

/// A plugin's answer, or nothing if it failed, and for how long that counts.
#[derive(Clone)]
struct Answer {
    keyring: Option<Arc<Keyring>>,
    keep: Duration,
}

struct ProviderCacheExpiry;

impl Expiry<Key, Answer> for ProviderCacheExpiry {
    fn expire_after_create(&self, _: &Key, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.keep)
    }
}

impl NodeFiles {
    /// From the files that the nodes have, each optional.
    pub fn read(
        docker_config: Option<&Path>,
        provider_config: Option<(&Path, &Path)>,
    ) -> Result<Self, PluginError> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|source| PluginError::Read { path: path.to_owned(), source })
        };
        let read_config = |path: &Path| {
            let data = read(path)?;
            let parsed = DockerConfig::parse(&data)
                .map_err(|_| PluginError::DockerConfig { path: path.to_owned() })?;
            let origin = CredentialOrigin::NodeConfig(path.display().to_string().into());
            let keyring = Keyring::from_config(&parsed, &origin);
            Ok::<_, PluginError>((keyring, AuthFile::parse(&data, origin)))
        };
        let (config, auth_file) = docker_config.map(read_config).transpose()?.unzip();
        let (providers, plugins) = match provider_config {
            None => (Vec::new(), PathBuf::new()),
            Some((path, plugins)) => {
                let text = String::from_utf8_lossy(&read(path)?).into_owned();
                let config = ProviderConfig::parse(&text, &path.display().to_string())?;
                for provider in config.providers.iter().filter(|provider| !provider.wants_token) {
                    exec::check(&plugins.join(&*provider.name))?;
                }
                (config.providers, plugins.to_owned())
            }
        };
        Ok(Self {
            config,
            auth_file: auth_file.unwrap_or_default(),
            providers: providers.into_iter().map(Arc::new).collect(),
            plugins,
            answers: Cache::builder()
                .max_capacity(MAX_ANSWERS)
                .expire_after(ProviderCacheExpiry)
                .build(),
            running: Cache::builder().max_capacity(1000).time_to_idle(exec::TIME_LIMIT * 4).build(),
        })
    }

    /// The login that CRI-O has for a mirror's copy of an image, by the docker configuration.
    pub(crate) fn mirror_login(&self, at_mirror: &ImageReference) -> Option<Credential> {
        self.auth_file.login(at_mirror)
    }

    /// Without any file: nothing is known of the nodes' credentials.
    pub fn none() -> Self {
        Self {
            config: None,
            auth_file: AuthFile::default(),
            providers: Vec::new(),
            plugins: PathBuf::new(),
            answers: Cache::new(0),
            running: Cache::new(0),
        }
    }

    /// What one plugin answers for an image. Whoever asks for the same at the same time shares
    /// one run, which goes on when its callers have given up.
    async fn run_provider(
        &self,
        index: usize,
        provider: &Arc<Provider>,
        image: &ImageReference,
    ) -> Answer {
        let keys = [CacheScope::Image, CacheScope::Registry, CacheScope::Global]
            .map(|scope| Key { plugin: index, subject: subject(scope, image) });
        for key in &keys[1..] {
            if let Some(answer) = self.answers.get(key).await {
                return answer;
            }
        }
        let [of_image, of_registry, of_all] = keys;
        let answers = self.answers.clone();
        let path = self.plugins.join(&*provider.name);
        let turn = async { Arc::new(Semaphore::new(MOST_PER_REGISTRY)) };
        let turn = self.running.get_with(image.host().into(), turn).await;
        let run = {
            let (provider, image) = (provider.clone(), image.clone());
            async move {
                let answer = match exec::run(&path, &provider, &image, &turn).await {
                    Ok(answer) => answer,
                    Err(fault) => {
                        tracing::warn!(plugin = %provider.name, %fault, "credential plugin failed");
                        return Answer { keyring: None, keep: AFTER_FAILURE };
                    }
                };
                let kept = Answer {
                    keyring: Some(Arc::new(answer.keyring)),
                    keep: answer.keep.max(SAME_TIME),
                };
                match answer.scope {
                    CacheScope::Image => {}
                    CacheScope::Registry => answers.insert(of_registry, kept.clone()).await,
                    CacheScope::Global => answers.insert(of_all, kept.clone()).await,
                }
                kept
            }
        };
        let answers = self.answers.clone();
        let task = tokio::spawn(async move { answers.get_with(of_image, run).await });
        task.await.unwrap_or(Answer { keyring: None, keep: Duration::ZERO })
    }
}

fn subject(scope: CacheScope, image: &ImageReference) -> Box<str> {
    match scope {
        CacheScope::Image => image.name().into(),
        CacheScope::Registry => format!("//{}", image.host()).into(),
        CacheScope::Global => "*".into(),
    }
}

impl NodeCredentialSource for NodeFiles {
    fn runtime_login(&self, image: &ImageReference) -> RuntimeLogin {
        self.auth_file.of(image)
    }

    fn node_credentials<'a>(
        &'a self,
        image: &'a ImageReference,
        deadline: Instant,
    ) -> BoxFuture<'a, NodeCredentials> {
        async move {
            // Whoever says that the nodes' logins are listed, and gives no file, has listed none.
            let unclear = self.config.is_none() && self.providers.is_empty();
            let mut found = NodeCredentials { unclear, ..NodeCredentials::default() };
            found.credentials.extend(self.config.iter().flat_map(|config| config.lookup(image)));
            let asked = self.providers.iter().enumerate().filter(|(_, one)| one.matches(image));
            let answers = join_all(asked.map(|(index, provider)| async move {
                if provider.wants_token {
                    return None;
                }
                let ask = self.run_provider(index, provider, image);
                tokio::time::timeout_at(deadline.into(), ask).await.ok()?.keyring
            }))
            .await;
            for answer in answers {
                match answer {
                    Some(keyring) => found.credentials.extend(keyring.lookup(image)),
                    None => found.unclear = true,
                }
            }
            found
        }
        .boxed()
    }
}
