//! What an operator says on the command line and in the environment, checked once.
//!
//! Flags as they were typed ([`ServeFlags`]) become one [`Config`] in which nothing contradicts
//! itself. Files are only named here; who uses a file reads it, at start, and says what is wrong
//! with it by file, line and field.

mod flags;
mod own;
mod serve;

pub use flags::{ClusterFlags, NodeFlags, RegistryFlags, ServeFlags};
pub use own::{OwnFlags, OwnSettings};
pub use serve::{
    CallerProof, ClusterTarget, Config, ConfigError, MirrorFiles, NodeSettings, PolicyPlace,
    RegistrySettings, TlsSource,
};
