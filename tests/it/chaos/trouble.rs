//! Trouble, chosen at random from one seed: some at registries, some in the cluster, both at once.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::around::Around;
use super::load::Replicas;
use super::{POLICY, replica};
use crate::cluster::control_plane::ControlPlane;
use crate::registry::scripted::{Scripted, challenged, envelope, reply};

/// What a registry does that is not well. None of it is the registry's own word that an image is
/// missing or refused.
const REGISTRY: [&str; 9] = [
    "hangs",
    "breaks off",
    "answers garbage",
    "answers a web page",
    "answers 404 without a word",
    "answers 401 of a proxy",
    "answers 500",
    "answers 503",
    "is slow",
];
/// What goes wrong in the cluster.
const CLUSTER: [&str; 5] = [
    "API server stands still",
    "API server starts anew",
    "a replica is killed",
    "the policy cannot be read",
    "the clock jumps",
];
/// What goes wrong on the way to the registry that is found by name.
const ON_THE_WAY: [&str; 3] =
    ["names are not resolved", "its certificate is renewed", "its certificate is a stranger's"];
/// Where a clock that jumps may land, in seconds from now: by a time zone, by days, by a battery that
/// was empty.
const JUMPS: [i64; 6] = [3600, -3600, 86_400 * 2, -86_400 * 2, 86_400 * 40, -86_400 * 365];

/// Where chance comes from: one seed, one stream for each who draws.
struct Chance(TestRng);

/// Whoever makes trouble.
pub(super) struct Troubles {
    seed: u64,
    cluster: ControlPlane,
    registries: Vec<Scripted>,
    around: Around,
    replicas: Arc<Mutex<Replicas>>,
    made: BTreeMap<&'static str, usize>,
}

impl Chance {
    fn new(seed: u64, stream: u8) -> Self {
        let mut bytes = [stream; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.next_u64() % bound as u64).unwrap()
    }

    /// A while between a fifth of a second and this.
    fn a_while(&mut self, longest: Duration) -> Duration {
        let share = self.below(1000);
        Duration::from_millis(200) + longest * u32::try_from(share).unwrap() / 1000
    }
}

fn script(registry: &Scripted, trouble: &str) {
    match trouble {
        "hangs" => {
            registry.script(|_| {
                Some(async {
                    tokio::time::sleep(Duration::from_secs(300)).await;
                    envelope(500, "UNKNOWN")
                })
            });
        }
        "is slow" => {
            registry.delay(Duration::from_millis(900));
        }
        "breaks off" => {
            registry.replies(|_| {
                let broken = std::io::Error::other("broken off");
                let body = Body::from_stream(futures::stream::iter([
                    Ok(bytes::Bytes::from_static(b"{")),
                    Err(broken),
                ]));
                Some(Response::builder().header("content-length", "900").body(body).unwrap())
            });
        }
        "answers garbage" => {
            registry.replies(|_| Some(reply(200, &[("content-type", "??")], "\u{0}\u{1}{{{[")));
        }
        "answers a web page" => {
            registry.replies(|_| {
                Some(reply(200, &[("content-type", "text/html")], "<html>log in</html>"))
            });
        }
        "answers 404 without a word" => {
            registry
                .replies(|_| Some(reply(404, &[("content-type", "text/html")], "no such page")));
        }
        "answers 401 of a proxy" => {
            registry.replies(|call| match call.path.as_str() {
                "/v2/" => Some(challenged(401, "Negotiate", "PROXY")),
                _ => Some(reply(401, &[], "the proxy wants to know who you are")),
            });
        }
        "answers 500" => {
            registry.replies(|_| Some(envelope(500, "UNKNOWN")));
        }
        "answers 503" => {
            registry.replies(|_| Some(reply(503, &[("retry-after", "1")], "")));
        }
        other => unreachable!("{other}"),
    }
}

/// Makes registries sick in turn, one way after the other; what was made.
fn at_registries(
    mut chance: Chance,
    registries: &[Scripted],
    longest: Duration,
    until: Instant,
) -> Vec<&'static str> {
    let mut made = Vec::new();
    while Instant::now() < until {
        let sick = &registries[1 + chance.below(registries.len() - 1)];
        let what = REGISTRY[chance.below(REGISTRY.len())];
        script(sick, what);
        made.push(what);
        std::thread::sleep(chance.a_while(longest));
        sick.remove_script();
        sick.delay(Duration::ZERO);
        std::thread::sleep(chance.a_while(longest) / 4);
    }
    made
}

impl Troubles {
    pub(super) fn new(
        seed: u64,
        cluster: ControlPlane,
        registries: Vec<Scripted>,
        around: Around,
        replicas: Arc<Mutex<Replicas>>,
    ) -> Self {
        Self { seed, cluster, registries, around, replicas, made: BTreeMap::new() }
    }

    /// How much was made.
    pub(super) fn count(&self) -> usize {
        self.made.values().sum()
    }

    /// What was made, and how often.
    pub(super) fn summary(&self) -> String {
        let made: Vec<_> = self.made.iter().map(|(what, n)| format!("{what} ({n})")).collect();
        made.join(", ")
    }

    /// Makes trouble at registries and in the cluster at once, and leaves everything as it was.
    pub(super) fn make_until(&mut self, until: Instant) {
        let length = until.saturating_duration_since(Instant::now());
        let longest = (length / 20).clamp(Duration::from_secs(1), Duration::from_secs(10));
        let (chance, registries) = (Chance::new(self.seed, 1), self.registries.clone());
        let registries =
            std::thread::spawn(move || at_registries(chance, &registries, longest, until));
        let mut chance = Chance::new(self.seed, 2);
        // In ten minutes, two of them without an API server; much less in a short run.
        let mut first = Some((length / 5).min(Duration::from_secs(120)));
        let mut order = Vec::new();
        while Instant::now() < until {
            // Every kind comes once before any comes again.
            if order.is_empty() {
                order = CLUSTER.to_vec();
                if self.around.named.is_ok() {
                    order.extend(ON_THE_WAY);
                }
            }
            let what = order.swap_remove(chance.below(order.len()));
            let stands_still = first.take_if(|_| what == CLUSTER[0]);
            let time = stands_still.unwrap_or_else(|| chance.a_while(longest));
            *self.made.entry(what).or_default() += 1;
            if ON_THE_WAY.contains(&what) {
                self.on_the_way(what, time);
            } else {
                let jump = JUMPS[chance.below(JUMPS.len())];
                self.in_the_cluster(what, time, jump);
            }
            std::thread::sleep(chance.a_while(longest));
        }
        for what in registries.join().unwrap() {
            *self.made.entry(what).or_default() += 1;
        }
    }

    fn on_the_way(&self, what: &str, time: Duration) {
        let Ok((names, front)) = &self.around.named else { return };
        match what {
            "names are not resolved" => {
                names.be_silent(true);
                std::thread::sleep(time);
                names.be_silent(false);
            }
            "its certificate is renewed" => front.renew(true),
            "its certificate is a stranger's" => {
                front.renew(false);
                std::thread::sleep(time);
                front.renew(true);
            }
            other => unreachable!("{other}"),
        }
    }

    fn in_the_cluster(&mut self, what: &str, time: Duration, jump: i64) {
        match what {
            "API server stands still" => {
                let id = self.cluster.process_ids()[1];
                signal("STOP", id);
                std::thread::sleep(time);
                signal("CONT", id);
            }
            "API server starts anew" => self.cluster.restart_api_server().unwrap(),
            "a replica is killed" => {
                self.replicas.lock().unwrap().kill();
                let new = replica(&self.cluster, &self.around);
                self.replicas.lock().unwrap().replace(new);
            }
            "the clock jumps" => {
                self.around.clock.set(jump);
                std::thread::sleep(time);
                self.around.clock.set(0);
            }
            "the policy cannot be read" => {
                self.replicas.lock().unwrap().write_policy("spec: [this is no policy");
                std::thread::sleep(time);
                self.replicas.lock().unwrap().write_policy(POLICY);
            }
            other => unreachable!("{other}"),
        }
    }
}

fn signal(name: &str, id: u32) {
    let done = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
    assert!(done.success(), "kill -{name} {id}");
}
