//! What a replica needs: its memory under ten thousand reviews, against the chart's requests.

use serde_json::{Value, json};

use super::deployed::{Deployed, review_of};
use super::one;
use crate::cluster::images::Image;
use crate::cluster::registry::{Access, Registry};
use crate::cluster::runtime;

const REVIEWS: usize = 10_000;
const AT_ONCE: usize = 16;
/// Distinct images, half of them missing.
const IMAGES: usize = 400;

/// The most memory that a process ever had, in MiB.
fn peak(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// The processor time that a process has used, in milliseconds; the clock ticks a hundred times a
/// second on every Linux that matters.
fn processor_time(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name, in brackets, may hold spaces; user and system time are the 12th and 13th behind it.
    let fields = stat.rsplit(") ").next().unwrap().split(' ').skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

fn mebibytes(quantity: &Value) -> u64 {
    quantity.as_str().unwrap().strip_suffix("Mi").unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_reviews_stay_within_what_the_chart_requests() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    let registry = Registry::start(deployed.cluster.programs(), Access::Anonymous).unwrap();
    let tags: Vec<String> = (0..IMAGES / 2).map(|n| format!("v{n}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    registry.push("shop/app", &tags, &Image::single("amd64", "1"));
    deployed.cluster.namespace_called("shop", &[]);
    let replica = deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8"]);
    let before = peak(replica.process.id());
    let caller = deployed.endpoint().caller(replica.listen).unwrap();
    let bodies: Vec<String> = (0..IMAGES)
        .map(|n| {
            let image = registry.image(&format!("shop/app:v{n}"));
            let spec = json!({"containers": [{"name": "c", "image": image}]});
            review_of("shop", &spec).to_string()
        })
        .collect();
    let bodies = std::sync::Arc::new(bodies);
    let used = processor_time(replica.process.id());
    let began = std::time::Instant::now();
    let senders: Vec<_> = (0..AT_ONCE)
        .map(|sender| {
            let (caller, bodies) = (caller.clone(), bodies.clone());
            runtime().spawn(async move {
                for n in (sender..REVIEWS).step_by(AT_ONCE) {
                    let (status, answer) = caller.post(bodies[n % IMAGES].clone()).await.unwrap();
                    assert!(status == 200 && answer.contains(r#""allowed":true"#), "{answer}");
                }
            })
        })
        .collect();
    for sender in senders {
        runtime().block_on(sender).unwrap();
    }
    let (took, after) = (began.elapsed(), peak(replica.process.id()));
    let used = processor_time(replica.process.id()) - used;
    println!("{REVIEWS} reviews in {took:?}: {before} MiB before, {after} MiB at most");
    println!("{used} ms of a processor, {} us a review", used * 1000 / REVIEWS as u64);
    let deployment = one(&deployed.objects, "Deployment", "pullgate");
    let resources = &deployment["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert!(after <= mebibytes(&resources["requests"]["memory"]), "{after} MiB");
}
