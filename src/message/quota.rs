//! That a rollout needs more pulls than Docker Hub has left.

use crate::text::count;

/// What a rollout is estimated to pull from Docker Hub, and what is left there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaForecast {
    /// Pulls that it may need: one for each image and node.
    pub needed: u32,
    /// Pulls that Docker Hub last said are left.
    pub left: u32,
    /// Whether that is for the account with which the pods pull; otherwise it is for the address that
    /// Pullgate asks from, and nodes may have others.
    pub of_account: bool,
}

impl QuotaForecast {
    /// What is the case, as the head of a line.
    pub(super) fn message(self) -> String {
        let Self { needed, left, of_account } = self;
        let pulls = count(needed, "Docker Hub pull");
        let whose = if of_account { "its account" } else { "Pullgate's address" };
        format!("rollout needs up to {pulls}; {whose} has {left} left")
    }
}
