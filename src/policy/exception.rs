//! Exceptions: what is let through for a while, and who gets past a denial.

use jiff::{SignedDuration, Timestamp};

use super::document::{BreakGlass, Exception, PullgatePolicySpec};
use super::resolve::{BREAK_GLASS_ANNOTATION, PolicyScope};
use crate::pull::Cause;
use crate::user::UserInfo;

/// An exception that fits what is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionUse {
    /// Its name.
    pub name: Box<str>,
    /// Who answers for it.
    pub owner: Box<str>,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether that is soon: then its use is a warning.
    pub expiring_soon: bool,
    /// Whether it has ended: then it lets nothing through any more.
    pub expired: bool,
}

impl PullgatePolicySpec {
    /// The exception that fits: one in force before one that has ended, the longest first.
    pub(super) fn exception_for(
        &self,
        subject: PolicyScope<'_>,
        cause: Option<Cause>,
        now: Timestamp,
    ) -> Option<ExceptionUse> {
        let notice = SignedDuration::try_from(self.exception_notice.get()).unwrap_or_default();
        self.exceptions
            .iter()
            .filter(|exception| exception.matches_subject(subject, cause))
            .max_by_key(|exception| exception.expires)
            .map(|exception| {
                let expires = exception.expires.get();
                let left = expires.duration_since(now);
                ExceptionUse {
                    name: exception.name.as_str().into(),
                    owner: exception.owner.as_str().into(),
                    expires,
                    expired: expires <= now,
                    expiring_soon: expires > now && left <= notice,
                }
            })
    }
}

impl Exception {
    fn matches_subject(&self, subject: PolicyScope<'_>, cause: Option<Cause>) -> bool {
        let wanted = &self.matches;
        let namespace_fits = wanted
            .namespace_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(subject.namespace));
        let image_fits = wanted.images.is_empty()
            || subject
                .reference
                .is_some_and(|reference| wanted.images.iter().any(|one| one.matches(reference)));
        let cause_fits = wanted.causes.is_empty()
            || cause.is_some_and(|cause| wanted.causes.iter().any(|one| one.0 == cause));
        namespace_fits && image_fits && cause_fits
    }
}

impl BreakGlass {
    /// Whether this user, or this object by its annotation, gets past a denial.
    pub(super) fn opens(&self, user: &UserInfo, annotations: &[(Box<str>, Box<str>)]) -> bool {
        self.users.iter().any(|listed| **listed == *user.username)
            || self.groups.iter().any(|group| user.groups.iter().any(|has| **has == **group))
            || (self.annotation
                && annotations.iter().any(|(key, reason)| {
                    **key == *BREAK_GLASS_ANNOTATION && !reason.trim().is_empty()
                }))
    }
}
