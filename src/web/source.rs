//! What pages are made of, and who may see it.

use std::time::Instant;

use futures::future::BoxFuture;

use super::explanation::Explanation;
use super::overview::Overview;
use crate::history::{KnownImage, Visibility};
use crate::image::ImageReference;
use crate::user::UserInfo;

/// Where pages get what they show. `serve` and `explain --web` each have one.
pub(crate) trait PageSource: Send + Sync + 'static {
    /// What a person has to enter to sign in, as a sentence for the page that asks for it, and a
    /// command that shows it.
    fn sign_in_help(&self) -> (&'static str, &'static str);

    /// Whether a secret may stand in an address, since it is good for this one page and its process.
    fn takes_keys_in_addresses(&self) -> bool {
        false
    }

    /// Whose secret this is. It must not be kept.
    fn sign_in<'a>(
        &'a self,
        secret: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<UserInfo, SignInRefused>>;

    /// What this user may see: everything, or one namespace; nothing if neither.
    fn visibility<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: Option<&'a str>,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<Visibility>>;

    /// The cluster at a glance, as far as it may be seen.
    fn overview<'a>(&'a self, visible: &'a Visibility) -> BoxFuture<'a, Overview>;

    /// Begins to look again at all images in use; whether this source does that when it is told to.
    fn refresh(&self) -> bool;

    /// The images whose name has all these words in it: at most so many, and how many there are.
    fn images<'a>(
        &'a self,
        words: &'a str,
        visible: &'a Visibility,
        most: usize,
    ) -> BoxFuture<'a, (Vec<KnownImage>, usize)>;

    /// Everything that is known of what is asked about.
    fn explain<'a>(
        &'a self,
        asked: &'a PageTarget,
        visible: &'a Visibility,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Explanation>, NotFound>>;
}

/// What a page is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageTarget {
    /// A tag or a digest.
    Image(ImageReference),
    /// A host, as it stands in image names.
    Registry(Box<str>),
    /// A workload or a bare pod.
    Workload {
        /// `Deployment`, `CronJob`, …, or `Pod`.
        kind: Box<str>,
        /// Its namespace.
        namespace: Box<str>,
        /// Its name.
        name: Box<str>,
    },
}

/// Why there is no page: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotFound(pub String);

/// Why somebody could not sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignInRefused {
    /// What was entered is nobody's.
    #[error("This is not accepted. It may have expired, or be incomplete.")]
    Nobody,
    /// It could not be found out.
    #[error("The API server did not say whose token this is. Try again in a moment.")]
    Unknown,
}
