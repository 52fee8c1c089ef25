//! A crowd that begins connections and never ends them: what it costs `serve`, and whether the API
//! server's own review is answered beside it.

use std::io::Write as _;
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::control_plane::{ControlPlane, DEVELOPER};
use super::pullgate::{self, Proof, PullgateServer};
use super::{programs, skipped, wait_until};

const CROWD: usize = 6000;
/// What the crowd may cost, in KiB.
const AFFORDABLE: u64 = 40 << 10;
/// Files that a process has open beside.
const BESIDE: u64 = 500;
const NAMESPACE: &str = "crowd";

/// Lets this process and those that it starts have so many files open, if the machine does.
fn allow_files(count: u64) -> Result<(), String> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|most| most >= count) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(count), maximum: now.maximum };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| format!("{count} files cannot be open at once: {error}"))
}

/// A line of `/proc/PID/status`, in KiB.
fn memory(server: &PullgateServer, line: &str) -> u64 {
    let status = format!("/proc/{}/status", server.process_id());
    let status = std::fs::read_to_string(status).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn six_thousand_unfinished_handshakes_cost_little_and_pods_are_judged_meanwhile() {
    let programs = match programs() {
        Ok(programs) => programs,
        Err(reason) => return skipped(&reason),
    };
    if let Err(reason) = allow_files(CROWD as u64 + BESIDE) {
        return skipped(&reason);
    }
    let cluster = ControlPlane::start(&programs).unwrap();
    cluster.namespace_called(NAMESPACE, &[(NAMESPACE, "yes"), ("pullgate.dev/mode", "enforce")]);
    cluster.let_developer_edit(NAMESPACE);
    pullgate::grant_rights(&cluster);
    let server = PullgateServer::start(&cluster, None, Proof::PathToken, &[]).unwrap();
    server.register(&cluster, NAMESPACE, (NAMESPACE, "yes"));
    let kubectl = cluster.kubectl(DEVELOPER);
    // A name that no runtime parses is denied without asking anybody.
    let denied = |what: &str| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": "p-", "namespace": NAMESPACE},
            "spec": {"containers": [{"name": "c", "image": "Not/A:Name"}]}});
        let create = ["create", "--dry-run=server", "-f", "-"];
        let answer = kubectl.run_with(&create, &pod.to_string());
        let denied = answer.stderr.contains("denied the request: image");
        if denied { Ok(()) } else { Err(format!("{what}: {answer:?}")) }
    };
    wait_until("the webhook", || denied("before").map_err(Into::into)).unwrap();

    let before = memory(&server, "VmRSS:");
    let address = ("127.0.0.1", server.listen_port());
    let mut crowd = Vec::with_capacity(CROWD);
    for nth in 0..CROWD {
        let mut stream = TcpStream::connect(address).unwrap();
        // The head of a handshake of 512 bytes that never come. Whoever is closed already is none.
        let _closed = stream.write_all(&[0x16, 3, 1, 2, 0, 1]);
        crowd.push(stream);
        if nth % 1000 == 999 {
            denied(&format!("beside {} connections", nth + 1)).unwrap();
        }
    }
    let most = memory(&server, "VmHWM:");
    println!("{CROWD} unfinished handshakes: {before} KiB before, {most} KiB at most");
    assert!(most < before + AFFORDABLE, "{before} KiB before, {most} KiB at most");
    denied("all of them still open").unwrap();
    drop(crowd);
    denied("afterwards").unwrap();
}
