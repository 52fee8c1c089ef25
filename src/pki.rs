//! What Pullgate keeps of its own in the cluster: authority, certificate and path token in one
//! Secret, and what the webhook configurations have to know of them.
//!
//! Every replica reads the Secret; only the leader (a Lease) makes, renews and writes. Keys are in
//! the Secret and in memory, nowhere else, and in no log. Nothing is removed but what has expired,
//! so that old and new overlap and no handshake fails while something is renewed. Outside of a
//! cluster a directory holds an authority and a certificate, made in the same way.

mod configurations;
mod directory;
mod front_proxy;
mod controller;
mod lease;
mod make;
mod material;

pub use controller::{CertificateController, Pace};
pub use directory::{SelfSigned, SelfSignedError};
pub(crate) use front_proxy::RequestHeaders;
pub(crate) use make::placeholder;
pub use make::{Lifetimes, MakeError};
pub use material::ServingMaterial;

/// The names of what belongs to this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The namespace that it runs in.
    pub namespace: String,
    /// The Secret that everything is kept in, and the Lease beside it.
    pub secret: String,
    /// The Service that the API server calls.
    pub service: String,
    /// The webhook configurations, validating and mutating.
    pub configurations: String,
    /// This replica, among all.
    pub replica: String,
    /// Whether reviews come by way of the API server's aggregation layer: then no token stands in
    /// the webhook configurations, and the `APIService` has the CA bundle.
    pub aggregated: bool,
}

impl Names {
    /// The names that a certificate for the Service has to have; the API server asks for the first.
    pub fn hosts(&self) -> Vec<String> {
        let name = format!("{}.{}.svc", self.service, self.namespace);
        vec![name.clone(), format!("{name}.cluster.local")]
    }
}
