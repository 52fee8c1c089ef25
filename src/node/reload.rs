//! The nodes' files, looked at again and again: a changed one takes effect without a restart, and
//! of one that cannot be used the old content stays in force.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{NodeFiles, PluginError};
use crate::credential::RuntimeLogin;
use crate::image::ImageReference;
use crate::review::{NodeCredentialSource, NodeCredentials};

/// Where the nodes' files lie, each optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFilePaths {
    /// A docker configuration.
    pub docker_config: Option<PathBuf>,
    /// The kubelet's `CredentialProviderConfig`, and the directory of its plugins.
    pub providers: Option<(PathBuf, PathBuf)>,
}

impl NodeFilePaths {
    /// Reads and checks them; blocks for as long as the files take.
    pub fn read(&self) -> Result<NodeFiles, PluginError> {
        let providers =
            self.providers.as_ref().map(|(config, plugins)| (config.as_path(), plugins.as_path()));
        NodeFiles::read(self.docker_config.as_deref(), providers)
    }

    /// What stands in the files, to see whether it has changed. Of a file that cannot be read it
    /// is nothing.
    fn contents(&self) -> [Option<Vec<u8>>; 2] {
        let config = self.providers.as_ref().map(|(config, _)| config);
        [self.docker_config.as_ref(), config]
            .map(|path| path.and_then(|path| std::fs::read(path).ok()))
    }
}

/// The nodes' credentials as their files say now.
pub struct FollowedNodeFiles {
    paths: NodeFilePaths,
    current: ArcSwap<NodeFiles>,
}

impl FollowedNodeFiles {
    /// What cannot be used is an error here, at start.
    pub fn open(paths: NodeFilePaths) -> Result<Self, PluginError> {
        Ok(Self { current: ArcSwap::from_pointee(paths.read()?), paths })
    }

    /// What the files say now.
    pub fn current(&self) -> Arc<NodeFiles> {
        self.current.load_full()
    }

    /// Looks at the files every so often; never returns. What plugins have answered is forgotten
    /// with a change.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        let mut tick = tokio::time::interval(every.max(Duration::from_secs(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            tick.tick().await;
            let paths = self.paths.clone();
            let look = move || (paths.contents(), paths.read());
            let Ok((contents, read)) = tokio::task::spawn_blocking(look).await else { continue };
            let before = seen.replace(contents);
            if before.is_none() || before == seen {
                continue;
            }
            match read {
                Ok(files) => {
                    self.current.store(Arc::new(files));
                    tracing::info!("took the nodes' changed credential files");
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the nodes' changed credential files cannot be used; the old content stays"
                ),
            }
        }
    }
}

impl NodeCredentialSource for FollowedNodeFiles {
    fn runtime_login(&self, image: &ImageReference) -> RuntimeLogin {
        self.current().runtime_login(image)
    }

    fn node_credentials<'a>(
        &'a self,
        image: &'a ImageReference,
        deadline: Instant,
    ) -> BoxFuture<'a, NodeCredentials> {
        let current = self.current();
        async move { current.node_credentials(image, deadline).await }.boxed()
    }
}
