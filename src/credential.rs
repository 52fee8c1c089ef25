//! Pull secrets and the kubelet's keyring.

/// Placeholder shape.
#[derive(Debug, Clone)]
pub struct PullSecret(());
/// Placeholder shape.
#[derive(Debug, Clone)]
pub struct Credential(());
/// Placeholder shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSource(());
