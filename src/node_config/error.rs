//! Why a mirror configuration is refused: the file, the line, the field.

/// A fault in a mirror configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {field}: {fault}")]
pub struct MirrorError {
    /// The file, as it was named to us.
    pub file: Box<str>,
    /// The line, from 1.
    pub line: usize,
    /// The field, as a dotted path; `-` for the document itself.
    pub field: Box<str>,
    /// What is wrong.
    pub fault: MirrorFault,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorFault {
    /// The document cannot be read at all; the text is the parser's.
    #[error("{0}")]
    Syntax(Box<str>),
    /// The value is of another kind than the field's.
    #[error("must be {0}")]
    Kind(&'static str),
    /// The value is no address of a registry.
    #[error("must be an http or https address")]
    Address,
    /// containerd knows no such capability and refuses the file.
    #[error("must be pull, resolve, push or referrers")]
    Capability,
    /// CRI-O knows no such value and refuses the file.
    #[error("must be all, digest-only or tag-only")]
    PullFromMirror,
    /// The regular expression cannot be compiled.
    #[error("is no regular expression that is understood here")]
    Expression,
    /// CRI-O refuses the file for this.
    #[error("{0}, else CRI-O refuses the file")]
    CriO(&'static str),
    /// A rule that names neither a prefix nor a location.
    #[error("needs a prefix or a location")]
    Incomplete,
}
