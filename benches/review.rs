//! What a review costs beside a webhook that allows everything without a look.
//!
//! `cargo bench --profile release --bench review [-- ROUNDS]` starts two servers, each in a process of its own: the least
//! that a webhook in Rust can be (axum and rustls, the `AdmissionReview` decoded borrowed, `allowed`
//! answered), and `pullgate serve` with what it needs around it, an API server and a registry that stand
//! for real ones. Both are asked the same over TLS connections that stay open, in turn, so that a busy
//! machine slows both. It prints ratios: smallest, median, largest of all rounds.

#![expect(clippy::print_stdout, reason = "figures are its output")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

#[path = "webhook/around.rs"]
mod around;
#[path = "webhook/bodies.rs"]
mod bodies;
#[path = "webhook/load.rs"]
mod load;
#[path = "webhook/servers.rs"]
mod servers;

use std::time::Duration;

use around::{Around, dead_registry};
use bodies::{review_of, review_of_single};
use load::{Figures, Target, measure, send_all};
use servers::{Server, allow_all, pullgate};

const ROUNDS: usize = 9;
/// Different reviews of a case: pods of one ReplicaSet, as in a rollout, and pods that are like no other.
const VARIETY: usize = 200;
/// Distinct images among them.
const IMAGES: usize = 50;
/// Objects of this size are the largest that a cluster stores.
const LARGE: usize = 3_200_000;
const LARGE_AT_ONCE: usize = 8;

/// What is asked.
struct Kind {
    name: &'static str,
    bytes: usize,
    image: fn(usize, &Around) -> String,
    review: fn(usize, &str, usize) -> String,
}

/// What is asked, and over how many connections.
struct Case {
    kind: &'static Kind,
    connections: usize,
}

fn works(nth: usize, around: &Around) -> String {
    format!("{}/team/app{}:v1", around.registry, nth % IMAGES)
}

fn is_missing(nth: usize, around: &Around) -> String {
    format!("{}/team/app{}:v2", around.registry, nth % IMAGES)
}

fn is_dead(nth: usize, around: &Around) -> String {
    format!("{}/team/app{}:v1", around.dead, nth % IMAGES)
}

const KINDS: [Kind; 6] = [
    Kind { name: "works", bytes: 1_000, image: works, review: review_of },
    Kind { name: "works", bytes: 4_600, image: works, review: review_of },
    Kind { name: "works", bytes: 16_000, image: works, review: review_of },
    Kind { name: "works, like no other", bytes: 4_600, image: works, review: review_of_single },
    Kind { name: "missing", bytes: 4_600, image: is_missing, review: review_of },
    Kind { name: "dead registry", bytes: 4_600, image: is_dead, review: review_of },
];

/// Each kind over one connection, then each over many.
fn cases() -> Vec<Case> {
    let over = |connections| KINDS.iter().map(move |kind| Case { kind, connections });
    [1, 25].into_iter().flat_map(over).collect()
}

impl Case {
    const fn reviews(&self) -> usize {
        if self.connections == 1 { 600 } else { 3_000 }
    }

    fn bodies(&self, around: &Around) -> Vec<String> {
        (0..VARIETY)
            .map(|nth| (self.kind.review)(nth, &(self.kind.image)(nth, around), self.kind.bytes))
            .collect()
    }
}

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["allow-all", folder] => servers::serve_allow_all(folder),
        ["around", folder] => around::serve(folder),
        ["hold", rounds] => hold(rounds.parse().expect("a number")),
        [] => compare(ROUNDS),
        [rounds] => compare(rounds.parse().expect("a number of rounds")),
        _ => println!("usage: cargo bench --profile release --bench review [-- ROUNDS]"),
    }
}

/// Keeps Pullgate busy with the usual review for so many seconds: for a profiler. With `LEAST` set
/// the other server, which is this program and not `PULLGATE_BENCH_PROGRAM`.
fn hold(seconds: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let around = Around::start(folder.path(), dead_registry());
    let least = std::env::var_os("LEAST").is_some();
    let server = if least { allow_all(folder.path()) } else { pullgate(folder.path(), &around) };
    let cases = cases();
    let case = &cases[std::env::var("CASE").map_or(7, |nth| nth.parse().expect("a case"))];
    let (bodies, target) = (case.bodies(&around), Target::of(&server));
    let until = std::time::Instant::now() + Duration::from_secs(seconds);
    println!("pid {}", server.id());
    while std::time::Instant::now() < until {
        let figures = measure(&target, &bodies, case.connections, case.reviews());
        println!("{:.0} reviews a second, {:.1} us", figures.throughput, figures.processor * 1e6);
    }
}

fn compare(rounds: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let around = Around::start(folder.path(), dead_registry());
    let (least, ours) = (allow_all(folder.path()), pullgate(folder.path(), &around));
    let targets = [Target::of(&least), Target::of(&ours)];
    let cases = cases();
    let all: Vec<Vec<String>> = cases.iter().map(|case| case.bodies(&around)).collect();
    let mut pairs: Vec<Vec<[Figures; 2]>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for (nth, (case, bodies)) in cases.iter().zip(&all).enumerate() {
            let ask =
                |which: usize| measure(&targets[which], bodies, case.connections, case.reviews());
            let pair = if round % 2 == 0 {
                let least = ask(0);
                [least, ask(1)]
            } else {
                let ours = ask(1);
                [ask(0), ours]
            };
            // The first round fills what is kept.
            if round > 0 {
                pairs[nth].push(pair);
            }
        }
    }
    println!("Pullgate against a webhook that allows everything, {rounds} rounds in turn:");
    println!("median (smallest to largest) of the ratios, and the other's own figures");
    println!();
    table(&pairs);
    further_kilobytes(&pairs);
    drop((least, ours));
    memory(&around);
}

fn table(pairs: &[Vec<[Figures; 2]>]) {
    println!(
        "| image | body | connections | p50 | p99 | throughput | processor | its p50 | its processor |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (Case { kind, connections }, pairs) in cases().iter().zip(pairs) {
        let ratio = |of: fn(&Figures) -> f64| {
            spread(pairs.iter().map(|[least, ours]| of(ours) / of(least)).collect())
        };
        let theirs = |of: fn(&Figures) -> f64| {
            let all: Vec<f64> = pairs.iter().map(|[least, _]| of(least)).collect();
            format!("{:.0} us", median(all) * 1e6)
        };
        println!(
            "| {} | {:.1} KB | {} | {} | {} | {} | {} | {} | {} |",
            kind.name,
            kind.bytes as f64 / 1e3,
            connections,
            ratio(|figures| figures.p50),
            ratio(|figures| figures.p99),
            ratio(|figures| figures.throughput),
            ratio(|figures| figures.processor),
            theirs(|figures| figures.p50),
            theirs(|figures| figures.processor),
        );
    }
    println!();
}

/// What each further kilobyte costs a processor, from the smallest to the largest body.
fn further_kilobytes(pairs: &[Vec<[Figures; 2]>]) {
    let of = |bytes| {
        let found = cases().iter().position(|Case { kind, connections }| {
            kind.name == "works" && kind.bytes == bytes && *connections > 1
        });
        &pairs[found.expect("a case")]
    };
    let (small, large) = (of(1_000), of(16_000));
    let more = |which: usize| {
        let each = small.iter().zip(large);
        median(each.map(|(small, large)| large[which].processor - small[which].processor).collect())
    };
    let (least, ours) = (more(0) / 15.0, more(1) / 15.0);
    println!(
        "each further KB: {:.2} us against {:.2} us of a processor, ratio {:.2}",
        ours * 1e6,
        least * 1e6,
        ours / least
    );
}

/// Memory, each in a process that has just started.
fn memory(around: &Around) {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = pullgate(folder.path(), around);
    let target = Target::of(&ours);
    let bodies = cases()[1].bodies(around);
    let start = ours.memory("VmRSS:");
    measure(&target, &bodies, 25, 10_000);
    println!(
        "memory: {start:.1} MB at the start, {:.1} MB after 10,000 reviews",
        ours.memory("VmRSS:")
    );
    drop(ours);
    let ours = pullgate(folder.path(), around);
    let target = Target::of(&ours);
    measure(&target, &bodies, 1, VARIETY);
    let start = ours.memory("VmRSS:");
    let large: Vec<String> =
        (0..LARGE_AT_ONCE).map(|nth| review_of(nth, &works(nth, around), LARGE)).collect();
    send_all(&target, &large);
    send_all(&target, &large);
    let in_flight = (LARGE * LARGE_AT_ONCE) as f64 / 1e6;
    let more = ours.memory("VmHWM:") - start;
    println!(
        "{LARGE_AT_ONCE} reviews of 3.2 MB at once: {more:.1} MB more at the peak, {:.2} times what is in flight",
        more / in_flight
    );
}

/// The median, with the smallest and the largest.
fn spread(mut all: Vec<f64>) -> String {
    all.sort_by(f64::total_cmp);
    let (first, last) = (all.first().copied(), all.last().copied());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    format!("{:.2} ({first:.2} to {last:.2})", all[all.len() / 2])
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

impl Server {
    /// Memory of the process, in megabytes.
    fn memory(&self, what: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
        let kib = line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok());
        kib.unwrap_or_default() * 1024.0 / 1e6
    }
}
