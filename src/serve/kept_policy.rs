//! The policy that was last accepted: the leader keeps it in the cluster, and a replica that starts
//! while the policy is gone or cannot be used begins with it. A policy in force stays in force until
//! the next one is accepted, whoever restarts meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cluster::KeptPolicy;
use crate::policy::PullgatePolicy;

/// Between two looks whether what is kept is still there.
const LOOK_EVERY: Duration = Duration::from_secs(5 * 60);
/// After a failed write.
const RETRY: Duration = Duration::from_secs(30);

/// The document that is in force, since it was accepted; nothing under the default policy.
pub(super) type Accepted = Option<Arc<str>>;

/// What became of the question for the policy that was last accepted.
pub(super) enum LastPolicy {
    /// It is there.
    Policy(Box<PullgatePolicy>, Arc<str>),
    /// Nothing is kept, or nothing that can be used.
    Nothing,
    /// The API server could not be asked: ask again.
    NotYet,
}

/// Asks for the policy that was last accepted. `told`: whether trouble was told already.
pub(super) async fn last_policy(kept: &KeptPolicy, told: &mut bool) -> LastPolicy {
    let place = kept.place();
    let document = match kept.read().await {
        Ok(Some(document)) => document,
        Ok(None) => return LastPolicy::Nothing,
        Err(error) => {
            if !std::mem::replace(told, true) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    place,
                    error,
                    "failed to read the policy that was last accepted, retrying: the default \
                     policy is in force"
                );
            }
            return LastPolicy::NotYet;
        }
    };
    match PullgatePolicy::parse(&document, &place) {
        Ok(policy) => LastPolicy::Policy(Box::new(policy), document.into()),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "the policy that was last accepted cannot be used: the default policy is in force"
            );
            LastPolicy::Nothing
        }
    }
}

/// Keeps what is accepted, where this replica leads. Never ends.
pub(super) async fn keep(
    kept: KeptPolicy,
    mut accepted: watch::Receiver<Accepted>,
    mut leads: watch::Receiver<bool>,
) {
    let mut failing = false;
    loop {
        let document = accepted.borrow_and_update().clone();
        let leading = *leads.borrow_and_update();
        let mut pause = LOOK_EVERY;
        if let (true, Some(document)) = (leading, document) {
            let written = kept.write(&document).await;
            let failed_before = std::mem::replace(&mut failing, written.is_err());
            match written {
                Ok(true) => tracing::info!(place = kept.place(), "kept the policy in force"),
                Ok(false) => {}
                Err(error) => {
                    pause = RETRY;
                    if !failed_before {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            place = kept.place(),
                            error,
                            "failed to keep the policy in force, retrying: a replica that starts \
                             while the policy is gone would begin with an older one"
                        );
                    }
                }
            }
        }
        tokio::select! {
            Ok(()) = accepted.changed() => {}
            Ok(()) = leads.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
