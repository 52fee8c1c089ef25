//! Addresses that are never contacted, however they are spelled and wherever they come from.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use pullgate::image::ImageReference;
use pullgate::pull::{NetworkFault, Outcome};
use pullgate::registry::{InClusterHosts, NameResolver, RegistryClient, RegistryOptions};
use rstest::rstest;

use super::scripted::*;

/// Answers each question with the next of its addresses, the last one for ever.
struct Names {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Names {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers =
            answers.iter().map(|all| all.iter().map(|a| a.parse().unwrap()).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

impl NameResolver for Names {
    fn resolve(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer = self.answers[n].clone();
        Box::pin(async move { Ok(answer) })
    }
}

async fn outcome(options: RegistryOptions, image: &str) -> Outcome {
    let client = RegistryClient::new(options).unwrap();
    look(&client, &ImageReference::parse(image).unwrap(), None).await.outcome
}

#[rstest]
#[case::loopback("127.0.0.1:5000/a/b")]
#[case::loopback_short("127.1/a/b")]
#[case::loopback_name("localhost:5000/a/b")]
#[case::loopback_v6("[::1]:5000/a/b")]
#[case::metadata("169.254.169.254/latest/meta-data")]
#[case::metadata_port("169.254.169.254:80/a/b")]
#[case::metadata_number("2852039166.:80/a/b")]
#[case::metadata_hex("0xa9fea9fe:80/a/b")]
#[case::metadata_octal("0251.0376.0251.0376/a/b")]
#[case::metadata_short("169.254.43518/a/b")]
#[case::metadata_mixed("0xa9.254.0251.254/a/b")]
#[case::mapped("[::ffff:a9fe:a9fe]/a/b")]
#[case::compatible("[::a9fe:a9fe]:80/a/b")]
#[case::nat64("[64:ff9b::a9fe:a9fe]/a/b")]
#[case::ec2_v6("[fd00:ec2::254]/a/b")]
#[case::gce_v6("[fd20:ce::254]/a/b")]
#[case::ecs("169.254.170.2/a/b")]
#[case::eks("169.254.170.23/a/b")]
#[case::azure("168.63.129.16/a/b")]
#[case::alibaba("100.100.100.200/a/b")]
#[case::oracle("192.0.0.192/a/b")]
#[case::unspecified("0.0.0.0:5000/a/b")]
#[case::unspecified_v6("[::]:5000/a/b")]
#[case::link_local("[fe80::1]:5000/a/b")]
#[tokio::test]
async fn forbidden_in_all_spellings(#[case] image: &str) {
    if ImageReference::parse(image).is_err() {
        // No runtime parses it either; nothing is asked.
        return;
    }
    assert_eq!(outcome(RegistryOptions::default(), image).await, Outcome::ForbiddenAddress);
}

#[rstest]
#[case::loopback(&["127.0.0.1"])]
#[case::mapped(&["::ffff:127.0.0.1"])]
#[case::metadata(&["169.254.169.254"])]
#[case::nat64(&["64:ff9b::a9fe:a9fe"])]
#[case::all_of_several(&["169.254.169.254", "::1", "fe80::1"])]
#[tokio::test]
async fn a_name_that_leads_there_is_not_dialled(#[case] addresses: &[&str]) {
    let registry = Scripted::start().await;
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let mut options = RegistryOptions::default();
    let host = format!("registry.example.com:{port}");
    options.hosts.insert(host.clone(), vec![endpoint(&host)]);
    options.resolver = Some(Names::new(&[addresses]));
    assert_eq!(outcome(options, &format!("{host}/a/b")).await, Outcome::ForbiddenAddress);
    assert_eq!(registry.log(), [""; 0]);
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let host = format!("registry.example.com:{port}");
    let mut options = RegistryOptions::default();
    options.hosts.insert(host.clone(), vec![endpoint(&host)]);
    // Harmless when first asked (nobody listens there), loopback ever after.
    let names = Names::new(&[&["192.0.2.1"], &["127.0.0.1"]]);
    options.resolver = Some(names.clone());
    options.limits.connect = std::time::Duration::from_millis(200);
    options.load.breaker_threshold = 100;
    let client = RegistryClient::new(options).unwrap();
    let first = look(&client, &format!("{host}/a/b:v1").parse().unwrap(), None).await;
    assert!(
        matches!(first.outcome, Outcome::Timeout(_) | Outcome::Network(NetworkFault::Refused)),
        "{first:?}"
    );
    let second = look(&client, &format!("{host}/a/b:v2").parse().unwrap(), None).await;
    assert_eq!(second.outcome, Outcome::ForbiddenAddress);
    assert!(names.asked.load(Ordering::SeqCst) >= 2);
    assert_eq!(registry.log(), [""; 0]);
}

#[tokio::test]
async fn of_several_addresses_only_open_ones_are_dialled() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let host = format!("registry.example.com:{port}");
    let mut options = RegistryOptions::default();
    options.hosts.insert(host.clone(), vec![endpoint(&host)]);
    options.allow = vec!["127.0.0.1/32".parse().unwrap()];
    options.resolver = Some(Names::new(&[&["169.254.169.254", "127.0.0.1"]]));
    let found = outcome(options, &format!("{host}/a/b:v1")).await;
    assert!(matches!(found, Outcome::Exists(_)), "{found:?}");
}

#[rstest]
#[case::metadata("http://169.254.169.254/latest")]
#[case::mapped("http://[::ffff:169.254.169.254]/latest")]
#[case::decimal("http://2852039166/latest")]
#[case::name("http://metadata.example.com/latest")]
#[tokio::test]
async fn a_redirect_there_is_not_followed(#[case] target: &'static str) {
    let registry = Scripted::start().await;
    registry.replies(move |_| Some(reply(307, &[("location", target)], "")));
    let mut options = options(&[&registry]);
    options.resolver = Some(Names::new(&[&["169.254.169.254"]]));
    let client = RegistryClient::new(options).unwrap();
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    assert_eq!(lookup.outcome, Outcome::ForbiddenAddress);
}

#[tokio::test]
async fn a_realm_there_is_not_asked() {
    // The realm has the registry's own name, which by then leads to the metadata service.
    let registry = Scripted::start().await;
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    registry.replies(|_| {
        let challenge = r#"Bearer realm="http://token.example.com/token",service="s""#;
        Some(challenged(401, challenge, "UNAUTHORIZED"))
    });
    let host = format!("registry.example.com:{port}");
    let mut options = options(&[]);
    options.hosts.insert(host.clone(), vec![endpoint(&host)]);
    options.resolver = Some(Names::new(&[&["127.0.0.1"], &["169.254.169.254"]]));
    let found = outcome(options, &format!("{host}/a/b:v1")).await;
    assert_eq!(found, Outcome::ForbiddenAddress);
    assert_eq!(registry.log().len(), 1);
}

#[tokio::test]
async fn cluster_ranges_are_for_declared_registries() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let host = format!("registry.apps.example.com:{port}");
    let ask = async |declared: &[&str]| {
        let mut options = options(&[]);
        options.hosts.insert(host.clone(), vec![endpoint(&host)]);
        options.resolver = Some(Names::new(&[&["127.0.0.1"]]));
        options.cluster_ranges = vec!["127.0.0.0/8".parse().unwrap()];
        options.directions.in_cluster =
            InClusterHosts(declared.iter().map(|host| (*host).into()).collect());
        outcome(options, &format!("{host}/a/b:v1")).await
    };
    assert_eq!(ask(&[]).await, Outcome::ForbiddenAddress);
    assert_eq!(ask(&["other.example.com"]).await, Outcome::ForbiddenAddress);
    assert!(matches!(ask(&["registry.apps.example.com"]).await, Outcome::Exists(_)));
    assert!(matches!(ask(&["*.apps.example.com"]).await, Outcome::Exists(_)));
}
