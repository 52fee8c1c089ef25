//! A read-only page for people who would rather look than type: which registries are healthy, which
//! images fail and where, which in use could not be pulled again, and one page for each image,
//! registry and workload.
//!
//! Written by the server, without a script, and nothing is loaded from elsewhere. Who looks must have
//! signed in, and is shown what they may see: the source of the pages decides both ([`PageSource`]).
//! Nothing here changes anything.

mod explanation;
mod layout;
mod overview;
mod routes;
mod sessions;
mod source;

pub(crate) use explanation::Explanation;
pub use overview::{AuditSummary, LostImage, MovedTag, Overview, UnpullableImages};
pub(crate) use routes::web_router;
pub use source::NotFound;
pub(crate) use source::{PageSource, PageTarget, SignInRefused};
