//! Logins that fail are few: accounts and addresses get locked by who tries again and again with a
//! password that is wrong.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::credential::CredentialIdentity;
use crate::pull::{Outcome, Step};

/// Failed logins in a row within [`WINDOW`], after which there is no further one. Each time that the
/// next one fails, too, the pause is twice as long: a new password is another credential, and waits for
/// nobody.
const MOST_REFUSED: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// The pause doubles so often at most.
const MOST_DOUBLED: u32 = 4;
/// The most credentials and registries that are remembered.
const MOST_KEPT: usize = 10_000;

/// Scheme, host and port of a registry, and whose login.
pub(super) type LoginKey = (Box<str>, CredentialIdentity);

/// How the logins of late came out.
#[derive(Default)]
pub(super) struct Logins {
    states: Mutex<HashMap<LoginKey, State>>,
}

#[derive(Default)]
struct State {
    /// When the failed ones in a row were, as far as they count.
    refused: Vec<Instant>,
    /// How many pauses there were since the last one was taken.
    pauses: u32,
    /// Whether the last one was taken.
    accepted: bool,
    under_way: usize,
    ended: Arc<Notify>,
}

impl State {
    /// How many may fail in a row: after a pause one tells whether anything has changed, and another
    /// confirms it.
    const fn most(&self) -> usize {
        if self.pauses == 0 { MOST_REFUSED } else { 2 }
    }

    fn is_paused(&self) -> bool {
        self.refused.len() >= self.most()
    }

    fn forget_old(&mut self) {
        let (now, was_paused) = (Instant::now(), self.is_paused());
        let doubled = self.pauses.min(MOST_DOUBLED);
        let window = WINDOW * 2_u32.pow(doubled);
        self.refused.retain(|at| now.saturating_duration_since(*at) < window);
        if was_paused && self.refused.is_empty() {
            self.pauses = self.pauses.saturating_add(1);
        }
    }
}

/// One login under way; without a word it counts neither way.
pub(super) struct Login {
    logins: Arc<Logins>,
    key: LoginKey,
}

impl Logins {
    /// Whether there is no further login with this credential for now.
    pub(super) fn are_withheld(&self, key: &LoginKey) -> bool {
        self.states().get_mut(key).is_some_and(|state| {
            state.forget_old();
            state.is_paused()
        })
    }

    /// Waits for the right to log in. Before one login was taken, no more are under way than may
    /// fail.
    pub(super) async fn begin(
        self: &Arc<Self>,
        key: LoginKey,
        deadline: Instant,
    ) -> Result<Login, Outcome> {
        loop {
            let ended = {
                let mut states = self.states();
                if states.len() >= MOST_KEPT && !states.contains_key(&key) {
                    states.retain(|_, state| {
                        state.forget_old();
                        state.under_way > 0 || !state.refused.is_empty()
                    });
                    if states.len() >= MOST_KEPT {
                        return Err(Outcome::Overloaded);
                    }
                }
                let state = match states.entry(key.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(State::default()),
                };
                state.forget_old();
                if state.is_paused() {
                    return Err(Outcome::LoginWithheld);
                }
                if state.accepted || state.refused.len() + state.under_way < state.most() {
                    state.under_way += 1;
                    return Ok(Login { logins: Arc::clone(self), key });
                }
                Arc::clone(&state.ended).notified_owned()
            };
            if tokio::time::timeout_at(deadline, ended).await.is_err() {
                return Err(Outcome::Timeout(Step::Whole));
            }
        }
    }

    fn states(&self) -> MutexGuard<'_, HashMap<LoginKey, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login {
    /// Who answered took the credential, or did not look at it.
    pub(super) fn accepted(self) {
        self.note(|state| {
            state.refused.clear();
            (state.accepted, state.pauses) = (true, 0);
        });
    }

    /// Who answered does not know the credential.
    pub(super) fn refused(self) {
        self.note(|state| {
            state.refused.push(Instant::now());
            state.accepted = false;
        });
    }

    fn note(&self, with: impl FnOnce(&mut State)) {
        if let Some(state) = self.logins.states().get_mut(&self.key) {
            with(state);
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.note(|state| {
            state.under_way = state.under_way.saturating_sub(1);
            state.ended.notify_waiters();
        });
    }
}
