//! Certificates that a clock has made worthless, in the Secret of a running installation: expired
//! ones, and those of a clock that was ahead. The leader renews, the replicas take what is new, the
//! webhook answers again, and until then no pod waits longer than the time-out.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use super::balancer::Balancer;
use super::deployed::{Deployed, Replica, eventually, review_of};
use super::one;
use super::rolling::{REFUSED, SLACK, TIMEOUT, create, values};
use crate::cluster::{free_port, runtime, wait_until};

const DAY: i64 = 24 * 60 * 60;

/// From when to when, in days from now.
type Valid = (i64, i64);
const EXPIRED: Valid = (-20, -10);
const NOW: Valid = (-1, 300);
const LATER: Valid = (3, 300);

/// What is in the Secret: the authority's time, and the certificate's.
const CASES: [(&str, Valid, Valid); 5] = [
    ("an expired certificate", NOW, EXPIRED),
    ("all expired", EXPIRED, EXPIRED),
    ("an expired authority", EXPIRED, NOW),
    ("a certificate of a clock that was ahead", NOW, LATER),
    ("an authority of a clock that was ahead", LATER, NOW),
];

/// An authority and a certificate of the Service, as the Secret has them: in base64.
fn pairs(authority: Valid, leaf: Valid) -> Value {
    let now = rcgen::date_time_ymd(1970, 1, 1)
        + Duration::from_secs(jiff::Timestamp::now().as_second().unsigned_abs());
    let during = |params: &mut CertificateParams, (from, to): Valid| {
        let day = Duration::from_secs(DAY.unsigned_abs());
        let at = |days: i64| {
            let time = day * u32::try_from(days.unsigned_abs()).unwrap();
            if days < 0 { now - time } else { now + time }
        };
        (params.not_before, params.not_after) = (at(from), at(to));
    };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Pullgate authority of another time");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    during(&mut params, authority);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let hosts = ["pullgate.pullgate.svc", "pullgate.pullgate.svc.cluster.local"];
    let mut params = CertificateParams::new(hosts.map(str::to_owned)).unwrap();
    during(&mut params, leaf);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    json!({
        "ca.crt": STANDARD.encode(issuer.pem()), "ca.key": STANDARD.encode(issuer.key().serialize_pem()),
        "tls.crt": STANDARD.encode(certificate.pem()), "tls.key": STANDARD.encode(key.serialize_pem()),
        "next-ca.crt": null, "next-ca.key": null, "previous-ca.crt": null,
    })
}

/// An installation behind a Service, and what its people do.
struct Scene {
    deployed: Deployed,
    balancer: Balancer,
    pods: Api<Pod>,
}

impl Scene {
    fn start() -> Option<Self> {
        let balancer = Balancer::start();
        let values = values(balancer.port);
        // As it is shipped: what cannot be asked is let in.
        let values: Vec<&str> = values[..3].iter().map(String::as_str).collect();
        let deployed = Deployed::start(&values)?;
        deployed.route_to_loopback();
        deployed.cluster.namespace_called("shop", &[("pullgate.dev/mode", "enforce")]);
        let pods = Api::namespaced(deployed.api(), "shop");
        Some(Self { deployed, balancer, pods })
    }

    fn replicas(&self, names: [&str; 2]) -> [Replica; 2] {
        names.map(|name| {
            let listen = format!("--listen=127.0.0.1:{}", free_port());
            let replica = self.deployed.replica_unready(name, &[&listen]);
            self.balancer.add(&replica);
            replica
        })
    }

    /// Creates a pod that is to be refused: whether it was, and never late.
    fn is_denied(&self, what: &str) -> bool {
        let began = Instant::now();
        let answer = runtime().block_on(create(&self.pods, REFUSED));
        let took = began.elapsed();
        assert!(took < TIMEOUT + SLACK, "{what}: {took:?}");
        match answer {
            Ok(()) => false,
            Err(error) => {
                assert!(error.contains("denied the request: image"), "{what}: {error}");
                true
            }
        }
    }

    fn put(&self, data: &Value) {
        let patch = json!({"data": data}).to_string();
        let patch = ["patch", "secret", "-n", "pullgate", "pullgate", "--type=merge", "-p", &patch];
        self.deployed.kubectl.run(&patch).ok().unwrap();
    }

    fn kept(&self, key: &str) -> Value {
        let secret = self.deployed.kubectl.get(&["secret", "-n", "pullgate", "pullgate"]).unwrap();
        secret["data"][key].clone()
    }

    /// Waits until the leader has made what is good, all replicas serve with it, and the API
    /// server believes them.
    fn comes_back(&self, what: &str, replicas: &mut [Replica], bad: &Value) {
        eventually(&format!("{what}: a new certificate"), || {
            self.is_denied(what);
            self.kept("tls.crt") != bad["tls.crt"]
        });
        wait_until(&format!("{what}: every replica serves with it"), || {
            self.is_denied(what);
            let endpoint = self.deployed.endpoint();
            let body = review_of("shop", &json!({"containers": [{"name": "c", "image": REFUSED}]}));
            for replica in replicas.iter_mut() {
                replica.process.still_runs()?;
                let (status, answer) = replica.post(&endpoint, &body)?;
                if status != 200 || !answer.contains(r#""allowed":false"#) {
                    return Err(format!("{status} {answer}").into());
                }
            }
            Ok(())
        })
        .unwrap();
        // The API server's own word, again and again: connections go to both.
        eventually(&format!("{what}: the API server"), || (0..4).all(|_| self.is_denied(what)));
    }
}

#[test]
fn what_a_clock_has_made_worthless_is_renewed_and_no_pod_waits_for_it() {
    let Some(scene) = Scene::start() else { return };
    let mut replicas = scene.replicas(["r-0", "r-1"]);
    eventually("the first denial", || scene.is_denied("the start"));
    let token = scene.kept("token");
    for (what, authority, leaf) in CASES {
        let bad = pairs(authority, leaf);
        scene.put(&bad);
        scene.comes_back(what, &mut replicas, &bad);
        assert_eq!(scene.kept("token"), token, "{what}");
    }
}

#[test]
fn while_an_expired_certificate_cannot_be_renewed_pods_are_let_in_at_once() {
    let Some(scene) = Scene::start() else { return };
    let first = scene.replicas(["r-0", "r-1"]);
    eventually("the first denial", || scene.is_denied("the start"));

    // The leader may read its Secret, and write it no more.
    let role = one(&scene.deployed.objects, "Role", "pullgate").clone();
    let mut reads_only = role.clone();
    for rule in reads_only["rules"].as_array_mut().unwrap() {
        if rule["resources"] == json!(["secrets"]) {
            rule["verbs"] = json!(["get"]);
        }
    }
    scene.deployed.apply(&[&reads_only]);
    let bad = pairs(EXPIRED, EXPIRED);
    scene.put(&bad);
    // What is served already is better than what has expired: it stays.
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        assert!(scene.is_denied("the certificate in memory is good"));
        std::thread::sleep(Duration::from_millis(500));
    }
    // Replicas that start now have nothing better.
    drop(first);
    let mut second = scene.replicas(["r-2", "r-3"]);
    let (until, mut let_in) = (Instant::now() + Duration::from_secs(12), 0);
    while Instant::now() < until {
        assert!(!scene.is_denied("nothing but an expired certificate"));
        let_in += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(let_in > 4, "{let_in} pods in 12 seconds");
    assert_eq!(scene.kept("tls.crt"), bad["tls.crt"], "nobody may write it");

    scene.deployed.apply(&[&role]);
    scene.comes_back("the right is back", &mut second, &bad);
}
