//! What is known of a namespace.

/// What matters of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// The namespace's labels, sorted by key.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The namespace's annotations under `pullgate.dev/`, sorted by key.
    pub annotations: Vec<(Box<str>, Box<str>)>,
}
