//! Who asks: decides what may be shown.

/// The user in the AdmissionReview.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UserInfo {
    /// `userInfo.username`.
    pub username: Box<str>,
    /// `userInfo.uid`.
    pub uid: Box<str>,
    /// `userInfo.groups`.
    pub groups: Vec<Box<str>>,
    /// `userInfo.extra`, sorted by key.
    pub extra: Vec<(Box<str>, Vec<Box<str>>)>,
}

impl UserInfo {
    /// Whether it is a ServiceAccount: what it is told is read by others.
    pub(crate) fn is_service_account(&self) -> bool {
        self.username.starts_with("system:serviceaccount:")
    }
}
