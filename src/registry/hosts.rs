//! Reads the nodes' mirror configuration from where it lies, at start and again while running.
//!
//! At start a bad file is an error; later the old hosts stay in force and the log says why.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{RegistryClient, RegistryError};
use crate::node_config::{self, Client, FilesOf, MirrorError, Pattern, RegistryHosts};

/// The most bytes of one file that are read.
const MAX_FILE: u64 = 1 << 20;
/// The most registries of one directory.
const MAX_DIRECTORIES: usize = 10_000;

/// Where the nodes' mirror configuration lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostsSource {
    /// containerd's `config_path`: a directory per registry, each with a `hosts.toml`.
    Containerd(PathBuf),
    /// k3s' or RKE2's `registries.yaml`.
    K3s(PathBuf),
    /// CRI-O's `registries.conf`, and beside it `registries.conf.d` if it is there.
    Crio(PathBuf),
}

/// Why hosts cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// A file or directory cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More than a configuration can be.
    #[error("{} is too large", .0.display())]
    TooLarge(PathBuf),
    /// A file does not say what it must.
    #[error(transparent)]
    Content(#[from] MirrorError),
    /// The client cannot use them.
    #[error("failed to use the hosts")]
    Use(#[from] RegistryError),
}

impl HostsSource {
    /// Reads everything; blocks for as long as the files take.
    pub fn load(&self) -> Result<RegistryHosts, HostsError> {
        let of_containerd = match self {
            Self::Containerd(directory) => load_directory(directory)?,
            Self::K3s(path) => {
                node_config::parse_registries_yaml(&path.to_string_lossy(), &read(path)?)?
            }
            Self::Crio(path) => return load_registries_conf(path),
        };
        Ok(of_containerd.read_from(FilesOf::Containerd))
    }

    /// Looks at the files again and again and gives the client what changed; never returns.
    pub async fn follow(self, client: Arc<RegistryClient>, every: Duration) {
        let mut broken = false;
        let mut tick = tokio::time::interval(every.max(Duration::from_secs(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tick.tick().await;
            let (source, asks) = (self.clone(), Arc::clone(&client));
            let read = move || {
                if asks.take_certificates() {
                    tracing::info!("took the changed certificates of the mirror configuration");
                }
                source.load()
            };
            let loaded = tokio::task::spawn_blocking(read).await;
            let Ok(loaded) = loaded else { continue };
            let taken = loaded.and_then(|hosts| Ok(client.take_hosts(hosts)?));
            let was_broken = std::mem::replace(&mut broken, taken.is_err());
            match taken {
                Ok(true) => tracing::info!("took the changed mirror configuration"),
                Ok(false) if was_broken => {
                    tracing::info!("the mirror configuration is as it was before");
                }
                Err(error) if !was_broken => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the changed mirror configuration is not taken; the old one stays"
                ),
                Ok(false) | Err(_) => {}
            }
        }
    }
}

/// A file and its drop-ins: those of the name's order come later and win, prefix by prefix.
fn load_registries_conf(path: &Path) -> Result<RegistryHosts, HostsError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".d");
    let beside = PathBuf::from(beside);
    let failed = |source| HostsError::Read { path: beside.clone(), source };
    let mut files = Vec::new();
    if beside.is_dir() {
        for entry in std::fs::read_dir(&beside).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let name = file.file_name().unwrap_or_default();
            if name.as_encoded_bytes().ends_with(b".conf") && file.is_file() {
                files.push(file);
            }
            if files.len() >= MAX_DIRECTORIES {
                return Err(HostsError::TooLarge(beside));
            }
        }
    }
    files.sort();
    files.insert(0, path.to_owned());
    let mut hosts = RegistryHosts::default();
    // Of two rules for the same prefix the first that is added holds.
    for file in files.iter().rev() {
        let parse = if file == path {
            node_config::parse_registries_conf
        } else {
            node_config::parse_registries_drop_in
        };
        hosts.extend(parse(&file.to_string_lossy(), &read(file)?)?);
    }
    Ok(hosts)
}

fn load_directory(directory: &Path) -> Result<RegistryHosts, HostsError> {
    let failed = |source| HostsError::Read { path: directory.to_owned(), source };
    let mut found: BTreeMap<(Option<String>, u8), PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { continue };
        // `..data` and its like are how the kubelet mounts a ConfigMap.
        if name.starts_with("..") || !path.is_dir() {
            continue;
        }
        if found.len() >= MAX_DIRECTORIES {
            return Err(HostsError::TooLarge(directory.to_owned()));
        }
        let (registry, rank) = node_config::registry_of_directory(&name)
            .map_or((None, 0), |(host, rank)| (Some(host), rank));
        found.insert((registry, rank), path);
    }
    let mut hosts = RegistryHosts::default();
    for ((registry, _), path) in found {
        let file = path.join("hosts.toml");
        let ways = if file.is_file() {
            let name = file.to_string_lossy();
            node_config::parse_hosts_toml(registry.as_deref(), &path, &name, &read(&file)?)?
        } else {
            let (ca_files, clients) = certificates(&path)?;
            node_config::certificates_only(registry.as_deref(), ca_files, clients)
        };
        hosts.add(registry.map_or(Pattern::Any, |host| Pattern::Host(host.into())), ways);
    }
    Ok(hosts)
}

/// docker's layout: `*.crt` are authorities, `*.cert` with its `*.key` a client certificate.
fn certificates(directory: &Path) -> Result<(Vec<PathBuf>, Vec<Client>), HostsError> {
    let failed = |source| HostsError::Read { path: directory.to_owned(), source };
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    paths.sort();
    let with = |extension: &str| {
        let paths = paths.iter();
        paths.filter(|p| p.extension().is_some_and(|e| e == extension)).cloned().collect::<Vec<_>>()
    };
    let clients = with("cert")
        .into_iter()
        .map(|certificate| Client { key: Some(certificate.with_extension("key")), certificate })
        .collect();
    Ok((with("crt"), clients))
}

fn read(path: &Path) -> Result<String, HostsError> {
    let failed = |source| HostsError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(HostsError::TooLarge(path.to_owned()));
    }
    std::fs::read_to_string(path).map_err(failed)
}
