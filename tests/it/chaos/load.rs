//! Reviews at a steady rate, and what became of them.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use super::NAMESPACE;
use crate::cluster::pullgate::PullgateServer;
use crate::cluster::runtime;

/// Tags of each repository that are there.
pub(super) const TAGS: u64 = 40;
/// What the API server gives a review here.
const TIME_OUT: Duration = Duration::from_secs(5);
/// What a loaded machine may take on top for connections and scheduling.
const SLACK: Duration = Duration::from_millis(1500);
/// How often another replica is tried, as a Service does for the API server.
const TRIES: u32 = 20;

/// The replicas as a Service knows them; the first may be gone.
pub(super) struct Replicas {
    servers: [Option<PullgateServer>; 2],
    ways: [Option<Way>; 2],
}

/// How a replica is reached.
#[derive(Clone)]
struct Way {
    client: reqwest::Client,
    url: String,
}

impl Replicas {
    pub(super) fn new(servers: [PullgateServer; 2]) -> Self {
        let ways = [0, 1].map(|nth| Some(Way::to(&servers[nth])));
        Self { servers: servers.map(Some), ways }
    }

    /// Takes the first away without a farewell.
    pub(super) fn kill(&mut self) {
        self.ways[0] = None;
        // Dropping it kills it.
        self.servers[0] = None;
    }

    /// Puts a new one in its place.
    pub(super) fn replace(&mut self, server: PullgateServer) {
        self.ways[0] = Some(Way::to(&server));
        self.servers[0] = Some(server);
    }

    /// Writes the policy file of all that run.
    pub(super) fn write_policy(&self, text: &str) {
        for server in self.servers.iter().flatten() {
            server.write_policy(text);
        }
    }

    /// The memory of the one that runs all the time, in KiB.
    pub(super) fn memory(&self) -> u64 {
        let id = self.servers[1].as_ref().unwrap().process_id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The replica whose turn it is, or the other one.
    fn way(&self, turn: usize) -> Option<Way> {
        self.ways[turn % 2].clone().or_else(|| self.ways[(turn + 1) % 2].clone())
    }
}

impl Way {
    fn to(server: &PullgateServer) -> Self {
        let authority = reqwest::Certificate::from_pem_bundle(server.authority().as_bytes());
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(authority.unwrap())
            .timeout(TIME_OUT + SLACK)
            .build()
            .unwrap();
        let url = format!("{}?timeout={}s", server.validate_url(), TIME_OUT.as_secs());
        Self { client, url }
    }
}

/// What reviews are about.
#[derive(Clone)]
pub(super) struct Images {
    hosts: Vec<String>,
}

impl Images {
    /// Images of these registries.
    pub(super) fn new(hosts: Vec<String>) -> Self {
        Self { hosts }
    }

    /// The nth image, and whether it is there. One in four of each registry is missing.
    fn nth(&self, nth: u64) -> (String, bool) {
        let host = &self.hosts[usize::try_from(nth / 4).unwrap() % self.hosts.len()];
        let tag = nth * 7 % TAGS;
        let there = !nth.is_multiple_of(4);
        (format!("{host}/team/app:{}{tag}", if there { "v" } else { "none" }), there)
    }
}

/// What became of all reviews.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) answered: usize,
    pub(super) allowed: usize,
    pub(super) denied: usize,
    pub(super) wrongly_denied: Vec<String>,
    pub(super) late: Vec<String>,
    pub(super) lost: Vec<String>,
    slowest: Duration,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} reviews answered: {} allowed, {} denied ({} wrongly); {} late, {} lost, the slowest \
             after {} ms",
            self.answered,
            self.allowed,
            self.denied,
            self.wrongly_denied.len(),
            self.late.len(),
            self.lost.len(),
            self.slowest.as_millis()
        )
    }
}

/// What came of one review.
enum Fate {
    Allowed { warned: bool },
    Denied(String),
    Late(String),
    Lost(String),
}

/// Who sends reviews.
pub(super) struct Load {
    replicas: Arc<Mutex<Replicas>>,
    images: Images,
}

fn body(uid: u64, image: &str) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": format!("u-{uid}"), "operation": "CREATE", "namespace": NAMESPACE,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "ann", "groups": ["system:authenticated"]},
        "object": {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p-{uid}"), "namespace": NAMESPACE},
            "spec": {"imagePullSecrets": [{"name": "login"}],
                "containers": [{"name": "c", "image": image, "imagePullPolicy": "Always"}]}}}})
}

/// Sends one review; a replica that is gone is left out, as a Service does.
async fn send(replicas: &Mutex<Replicas>, turn: usize, uid: u64, image: &str) -> Fate {
    let started = Instant::now();
    let mut last = String::from("no replica");
    for attempt in 0..TRIES {
        let way = replicas.lock().unwrap().way(turn + attempt as usize);
        let Some(way) = way else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let request = way.client.post(&way.url).header("content-type", "application/json");
        let answer = match request.body(body(uid, image).to_string()).send().await {
            Ok(answer) => answer.json::<Value>().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => {
                let response = &answer["response"];
                assert_eq!(response["uid"], format!("u-{uid}"), "{answer}");
                let warned = response["warnings"].as_array().is_some_and(|all| !all.is_empty());
                return match response["allowed"].as_bool() {
                    Some(true) => Fate::Allowed { warned },
                    _ => Fate::Denied(response["status"]["message"].to_string()),
                };
            }
            Err(error) if error.is_timeout() => return Fate::Late(format!("{image}: {error:?}")),
            // The connection broke off with the replica.
            Err(error) => last = format!("{image}: {error:?}"),
        }
        if started.elapsed() > TIME_OUT {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Fate::Lost(last)
}

impl Load {
    pub(super) fn new(replicas: Arc<Mutex<Replicas>>, images: Images) -> Self {
        Self { replicas, images }
    }

    /// Sends so many reviews a second until then, each by itself.
    pub(super) fn start(&self, rate: u64, until: Instant) -> JoinHandle<Tally> {
        let (replicas, images) = (Arc::clone(&self.replicas), self.images.clone());
        runtime().spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
            let (mut sent, mut tally) = (JoinSet::new(), Tally::default());
            let mut nth = 0u64;
            while Instant::now() < until {
                ticks.tick().await;
                nth += 1;
                let (image, there) = images.nth(nth);
                let replicas = Arc::clone(&replicas);
                sent.spawn(async move {
                    let started = Instant::now();
                    let turn = usize::try_from(nth).unwrap();
                    let fate = send(&replicas, turn, nth, &image).await;
                    (image, there, fate, started.elapsed())
                });
                while let Some(done) = sent.try_join_next() {
                    tally.take(done.unwrap());
                }
            }
            while let Some(done) = sent.join_next().await {
                tally.take(done.unwrap());
            }
            tally
        })
    }

    /// Asks both replicas about images of every registry, and says what is wrong.
    pub(super) fn what_is_not_as_it_should_be(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for turn in 0..2 {
            for nth in 0..4 * self.images.hosts.len() as u64 {
                let (image, there) = self.images.nth(nth);
                let fate = runtime().block_on(send(&self.replicas, turn, 0, &image));
                match fate {
                    Fate::Allowed { warned: false } if there => {}
                    Fate::Denied(_) if !there => {}
                    Fate::Allowed { warned } => {
                        wrong.push(format!("{image} is let in, warned: {warned}"));
                    }
                    Fate::Denied(why) | Fate::Late(why) | Fate::Lost(why) => {
                        wrong.push(format!("{image}: {why}"));
                    }
                }
            }
        }
        wrong
    }
}

impl Tally {
    fn take(&mut self, (image, there, fate, time): (String, bool, Fate, Duration)) {
        match fate {
            Fate::Late(why) => return self.late.push(why),
            Fate::Lost(why) => return self.lost.push(why),
            Fate::Allowed { .. } => self.allowed += 1,
            Fate::Denied(why) => {
                self.denied += 1;
                if there {
                    self.wrongly_denied.push(format!("{image}: {why}"));
                }
            }
        }
        self.answered += 1;
        self.slowest = self.slowest.max(time);
    }
}
