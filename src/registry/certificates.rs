//! The certificate files that the nodes' mirror configuration names: whether they are still those
//! that were read, and when the client certificates among them end. Blocks while it reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::tls;
use crate::credential::Expiry;
use crate::node_config::{Endpoint, RegistryHosts};

/// The end of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEnd {
    /// The host that it is shown to.
    pub host: Box<str>,
    /// When it ends.
    pub end: Expiry,
}

/// What was found where the files lie.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateFiles {
    /// When each was last written, and how long it is; nothing of one that is not there.
    files: BTreeMap<PathBuf, Option<(SystemTime, u64)>>,
    /// The ends of those that are client certificates and can be read.
    ends: BTreeMap<PathBuf, Expiry>,
}

impl CertificateFiles {
    /// Looks at every file that these hosts name.
    pub(super) fn read(hosts: &RegistryHosts) -> Self {
        let mut found = Self::default();
        for settings in hosts.endpoints().filter_map(|endpoint| endpoint.tls.as_ref()) {
            let clients = settings.clients.iter();
            let files = clients.flat_map(|one| one.key.iter().chain([&one.certificate]));
            for path in files.chain(&settings.ca_files) {
                found.files.entry(path.clone()).or_insert_with(|| stamp(path));
            }
        }
        for (_, path) in hosts.clients() {
            if let Some(end) = tls::end_of(path) {
                found.ends.insert(path.to_owned(), end);
            }
        }
        found
    }

    /// The ends of the client certificates, each with the host that it is shown to.
    pub(super) fn ends(&self, hosts: &RegistryHosts) -> Vec<CertificateEnd> {
        let clients = hosts.clients().into_iter();
        let ends = clients.filter_map(|(host, path)| Some((host, *self.ends.get(path)?)));
        ends.map(|(host, end)| CertificateEnd { host, end }).collect()
    }

    /// Whether no host is shown a certificate of which the end is known.
    pub(super) fn has_no_end(&self) -> bool {
        self.ends.is_empty()
    }

    /// The end of the certificate that this endpoint is shown, if it is shown one.
    pub(super) fn end_at(&self, endpoint: &Endpoint) -> Option<Expiry> {
        let client = endpoint.tls.as_ref()?.clients.first()?;
        self.ends.get(&client.certificate).copied()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}
