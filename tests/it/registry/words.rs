//! What a registry says goes no further: not into an outcome, a metric or, unescaped, a log.

use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use pullgate::image::{Digest, ImageReference};
use pullgate::pull::{Content, Detail, Outcome};
use pullgate::registry::{NameResolver, RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;

use super::scripted::*;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_words_of_a_registry_stay_with_it() {
    let registry = Scripted::start().await;
    let evil = "evil\u{202e}words\nlevel=ERROR \u{1b}[31m";
    let body = serde_json::json!({"errors": [{"code": "DENIED", "message": evil.repeat(100)}]});
    let body = body.to_string();
    registry.replies(move |call| match call.path.rsplit('/').next() {
        Some("denied") => Some(reply(403, &[], body.clone())),
        Some("stranger") => Some(reply(403, &[], evil)),
        Some("html") => Some(reply(200, &[("content-type", "text/evil")], "<evil>")),
        Some("index") => Some(reply(
            if call.method == "HEAD" { 405 } else { 200 },
            &[("content-type", INDEX)],
            r#"{"manifests":[{"platform":{"os":"evil\u202e","architecture":"evil words"}}]}"#,
        )),
        Some("challenge") => {
            let challenge = r#"Bearer realm="https://evil.example/evil",service="evil""#;
            Some(challenged(401, challenge, "EVIL"))
        }
        _ => None,
    });
    let log = Kept::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // While there is only one subscriber, a log line that another test's thread comes to first counts
    // as one that nobody wants.
    let _another = tracing::dispatcher::Dispatch::new(tracing_subscriber::registry());
    // The look-ups run on this thread, as the runtime has no other.
    let guard = tracing::subscriber::set_default(subscriber);
    let client = client(&[&registry]);
    for tag in ["denied", "stranger", "html", "index", "challenge"] {
        let reference = registry.reference(&format!("a/b:{tag}"));
        let lookup = client.look_up(request(&reference, None, Detail::Platforms), soon()).await;
        let said = format!("{lookup:?}").replace("challenge", "");
        // Where it sends its visitors is known, as a host name and nothing else.
        let said = said.replace("ForeignRealm(\"evil.example\")", "");
        assert!(!said.contains("evil"), "{tag}: {said}");
    }
    drop(guard);
    let text = exported(&client);
    assert!(text.contains("outcome=\"forbidden\"") && !text.contains("evil"), "{text}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains("a registry refused")).unwrap();
    assert!(line.contains("evil") && line.len() < 600, "{line}");
    assert!(!log.contains('\u{202e}') && !log.contains('\u{1b}'), "{log}");
    assert!(log.lines().all(|line| !line.starts_with("level=ERROR")), "{log}");
}

/// A resolver with a defect.
struct Broken;

impl NameResolver for Broken {
    fn resolve(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async { panic!("a defect of ours") })
    }
}

#[tokio::test]
async fn a_panic_in_one_look_up_is_its_own_matter() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let mut options = options(&[&registry]);
    options.hosts.insert("broken.example.com", vec![endpoint("broken.example.com")]);
    options.resolver = Some(Arc::new(Broken));
    let client = RegistryClient::new(options).unwrap();
    let reference = ImageReference::parse("broken.example.com/a/b:v1").unwrap();
    for _ in 0..2 {
        let lookup = look(&client, &reference, None).await;
        assert!(matches!(lookup.outcome, Outcome::Overloaded | Outcome::Network(_)), "{lookup:?}");
    }
    let well = look(&client, &registry.reference("a/b:v1"), None).await;
    assert!(matches!(well.outcome, Outcome::Exists(_)), "{well:?}");
}

/// Every name is this machine.
pub struct Here;

impl NameResolver for Here {
    fn resolve(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

/// Docker Hub, and a client that takes this registry for it.
fn as_docker_hub(registry: &Scripted) -> Arc<RegistryClient> {
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let mut options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    let hub = endpoint(&format!("registry-1.docker.io:{port}"));
    options.hosts.insert("docker.io", vec![hub]);
    options.resolver = Some(Arc::new(Here));
    RegistryClient::new(options).unwrap()
}

#[tokio::test]
async fn docker_hub_s_remaining_pulls_are_exported_once_they_are_known() {
    let registry = Scripted::start().await;
    registry.replies(|_| {
        let headers = [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")];
        Some(reply(401, &headers, ""))
    });
    let client = as_docker_hub(&registry);
    let gauge = || {
        let text = exported(&client);
        let gauge = text.lines().find(|line| line.starts_with("docker_hub_pulls_remaining"));
        gauge.map(ToOwned::to_owned)
    };
    assert_eq!(gauge(), None);
    look(&client, &ImageReference::parse("nginx:1").unwrap(), None).await;
    assert!(gauge().unwrap().ends_with(" 76"), "{:?}", gauge());
}

#[tokio::test]
async fn the_last_pulls_of_docker_hub_are_for_the_nodes() {
    let registry = Scripted::start().await;
    let body = index(&[("linux", "amd64")]);
    let digest = Digest::of_sha256(body.as_bytes()).to_string();
    let left = Arc::new(Mutex::new(String::new()));
    let says = Arc::clone(&left);
    registry.replies(move |call| {
        let says = says.lock().unwrap().clone();
        let headers = [
            ("content-type", INDEX),
            ("docker-content-digest", &*digest),
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", &*says),
        ];
        Some(reply(200, &headers, if call.method == "HEAD" { String::new() } else { body.clone() }))
    });
    let client = as_docker_hub(&registry);
    for (name, remaining, read) in
        [("a:1", "29;w=21600", false), ("b:1", "30;w=21600", true), ("c:1", "29;w=21600", false)]
    {
        remaining.clone_into(&mut left.lock().unwrap());
        let reference = ImageReference::parse(name).unwrap();
        let question = request(&reference, None, Detail::Platforms);
        let outcome = client.look_up(question, soon()).await.outcome;
        let Outcome::Exists(found) = outcome else { panic!("{outcome:?}") };
        assert_eq!(found.content != Content::Unread, read, "{name}");
    }
    assert_eq!((registry.count("HEAD"), registry.count("GET")), (3, 1), "{:#?}", registry.log());
}
