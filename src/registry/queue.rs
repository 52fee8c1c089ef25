//! Who is next at one registry: namespaces take turns, so that one with a thousand look-ups delays
//! those of others by one look-up each, and always leaves them room to wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Whether a namespace that holds `own` of the `taken` places may take another: three times what is
/// still free. One alone gets three quarters, and however many there are, the next finds room.
const fn may_take(own: usize, taken: usize, most: usize) -> bool {
    own < most.saturating_sub(taken).saturating_mul(3)
}

/// Places that nobody waits for, shared between namespaces.
pub(super) struct Places {
    most: usize,
    taken: Mutex<SlotsInUse>,
}

#[derive(Default)]
struct SlotsInUse {
    all: usize,
    by_namespace: HashMap<Arc<str>, usize>,
}

/// A place; free again when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    namespace: Arc<str>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// A place for this namespace; nothing if it has its share already, or all are taken.
    pub(super) fn take(self: &Arc<Self>, namespace: Arc<str>) -> Option<Place> {
        let mut taken = self.taken();
        let own = taken.by_namespace.get(&namespace).copied().unwrap_or(0);
        if !may_take(own, taken.all, self.most) {
            return None;
        }
        taken.all += 1;
        *taken.by_namespace.entry(namespace.clone()).or_default() += 1;
        Some(Place { places: Arc::clone(self), namespace })
    }

    fn taken(&self) -> MutexGuard<'_, SlotsInUse> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by_namespace.get_mut(&self.namespace) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_namespace.remove(&self.namespace);
            }
        }
    }
}

/// The slots of one registry.
pub(super) struct Slots {
    most_waiting: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    waiting: usize,
    /// Those who wait, by namespace, each in the order they came.
    queues: HashMap<Box<str>, VecDeque<oneshot::Sender<Slot>>>,
    /// The namespaces in the order of their turns.
    turns: VecDeque<Box<str>>,
}

/// The right to a look-up; passed on to the next in turn when dropped.
pub(super) struct Slot {
    slots: Option<Arc<Slots>>,
}

impl Slots {
    pub(super) fn new(slots: usize, most_waiting: usize) -> Self {
        Self {
            most_waiting,
            state: Mutex::new(State {
                free: slots,
                waiting: 0,
                queues: HashMap::new(),
                turns: VecDeque::new(),
            }),
        }
    }

    /// Waits for a slot; nothing if too many wait already.
    pub(super) async fn acquire(self: &Arc<Self>, namespace: &str) -> Option<Slot> {
        let turn = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Some(Slot { slots: Some(Arc::clone(self)) });
            }
            let own = state.queues.get(namespace).map_or(0, VecDeque::len);
            if !may_take(own, state.waiting, self.most_waiting) {
                return None;
            }
            state.enqueue(namespace)
        };
        turn.await.ok()
    }

    /// Slots that nobody has.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.state().free
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enqueue(&mut self, namespace: &str) -> oneshot::Receiver<Slot> {
        let (sender, turn) = oneshot::channel();
        self.waiting += 1;
        if let Some(queue) = self.queues.get_mut(namespace) {
            queue.push_back(sender);
        } else {
            self.queues.insert(namespace.into(), VecDeque::from([sender]));
            self.turns.push_back(namespace.into());
        }
        turn
    }

    /// The next in turn, who may have given up.
    fn next(&mut self) -> Option<oneshot::Sender<Slot>> {
        let namespace = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&namespace)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        self.waiting -= usize::from(next.is_some());
        next
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(slots) = self.slots.take() else { return };
        loop {
            let next = {
                let mut state = slots.state();
                let Some(next) = state.next() else {
                    state.free += 1;
                    return;
                };
                next
            };
            match next.send(Self { slots: Some(Arc::clone(&slots)) }) {
                Ok(()) => return,
                // Who gave up leaves it to the next one.
                Err(mut unwanted) => unwanted.slots = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn namespaces_take_turns_however_many_wait_in_one() {
        let slots = Arc::new(Slots::new(1, 1000));
        let held = slots.acquire("first").await.unwrap();
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        for (namespace, count) in [("noisy", 500), ("quiet", 2), ("shop", 1)] {
            for _ in 0..count {
                let (slots, sender) = (Arc::clone(&slots), sender.clone());
                tokio::spawn(async move {
                    let _slot = slots.acquire(namespace).await.unwrap();
                    sender.send(namespace).unwrap();
                });
            }
        }
        while slots.state().waiting < 503 {
            tokio::task::yield_now().await;
        }
        drop((held, sender));
        let mut first = Vec::new();
        for _ in 0..6 {
            first.push(order.recv().await.unwrap());
        }
        assert_eq!(first, ["noisy", "quiet", "shop", "noisy", "quiet", "noisy"]);
        while order.recv().await.is_some() {}
        assert_eq!(slots.free(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_keeps_no_slot() {
        let slots = Arc::new(Slots::new(1, 10));
        let held = slots.acquire("a").await.unwrap();
        let short = Duration::from_millis(10);
        assert!(tokio::time::timeout(short, slots.acquire("a")).await.is_err());
        let mut waits = Box::pin(slots.acquire("b"));
        assert!(futures::poll!(&mut waits).is_pending());
        drop(held);
        // Granted, and never looked at.
        drop(waits);
        assert_eq!(slots.free(), 1);
    }

    #[tokio::test]
    async fn one_namespace_leaves_room_to_wait_for_others() {
        let slots = Arc::new(Slots::new(0, 100));
        let mut waiting = Vec::new();
        for namespace in ["noisy", "loud", "shop"] {
            let count = waiting.len();
            for _ in 0..200 {
                let mut waits = Box::pin(slots.acquire(namespace));
                match futures::poll!(&mut waits) {
                    std::task::Poll::Pending => waiting.push(waits),
                    std::task::Poll::Ready(turned_away) => assert!(turned_away.is_none()),
                }
            }
            assert!(waiting.len() > count, "{namespace} found no room");
        }
        assert!((75..100).contains(&waiting.len()), "{}", waiting.len());
    }
}
