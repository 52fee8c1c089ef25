//! Authorities and certificates renewed every few seconds while reviews come in: no handshake and
//! no review fails, and a replica that comes late takes what is current.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use pullgate::admission::DecodeError;
use pullgate::pki::{Lifetimes, ServingMaterial};
use pullgate::review::{AdmissionOutcome, ReviewRecord};
use pullgate::server::{
    AdmissionRoutes, Admit, Arrival, Bound, Callers, Limits, PathToken, ServingTls, TlsFiles,
};
use pullgate::telemetry::Metrics;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::accepted::apply_base;
use super::kept::{client, rustls_pem, start, wait_for};
use super::program;
use crate::cluster::control_plane::{ADMIN, ControlPlane};
use crate::cluster::pullgate::API_SERVICE;
use crate::cluster::runtime;

const LIFETIMES: Lifetimes = Lifetimes {
    authority: Duration::from_secs(30),
    certificate: Duration::from_secs(6),
    overlap: Duration::from_secs(5),
    backdate: Duration::from_secs(60),
};
const REVIEWS: u32 = 10_000;
/// Reviews on one connection: the API server keeps its own, a new one shakes hands.
const ON_ONE: u32 = 4;
const LONGEST: Duration = Duration::from_secs(120);

/// Lets everything in.
struct Yes;

impl Admit for Yes {
    fn admit(&self, _: Arrival) -> BoxFuture<'_, Result<AdmissionOutcome, DecodeError>> {
        let body = br#"{"response":{"uid":"u","allowed":true}}"#.to_vec();
        Box::pin(async { Ok(AdmissionOutcome { body, record: ReviewRecord::default() }) })
    }
}

fn pair(material: &ServingMaterial) -> Vec<Vec<u8>> {
    let (chain, key) = material.certificate.clone().unwrap();
    vec![chain.into_bytes(), key.into_bytes()]
}

/// A replica's server, with whatever its keeper says; its port.
fn serve(mut news: watch::Receiver<Option<ServingMaterial>>) -> u16 {
    let _in_runtime = runtime().enter();
    let first = news.borrow_and_update().clone().unwrap();
    let files = TlsFiles { certificate: "c".into(), key: "k".into(), client_authorities: None };
    let metrics = Arc::new(Metrics::new());
    let tls = ServingTls::with(files, pair(&first), Timestamp::now(), Arc::clone(&metrics));
    let tls = tls.unwrap();
    let mut taker = tls.taker();
    runtime().spawn(async move {
        while news.changed().await.is_ok() {
            let news = news.borrow_and_update().clone().unwrap();
            taker.take(&pair(&news), Timestamp::now());
        }
    });
    let bound = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = bound.address().port();
    let callers = Callers::new(vec![PathToken::new(&first.token)], false);
    let routes =
        AdmissionRoutes::new(Arc::new(Yes), callers, Arc::clone(&metrics), Limits::default());
    runtime().spawn(async move {
        let stop = CancellationToken::new();
        bound.serve_reviews(routes.router(), &tls, metrics, stop, Duration::from_secs(1)).await
    });
    port
}

/// What the API server trusts: the bundle in the `APIService`, and when that was looked at.
type Trust = Arc<Mutex<Option<(Arc<rustls::ClientConfig>, Instant)>>>;

/// A machine without a processor to spare: who follows the bundle was kept from it for most of the
/// time that an authority is trusted before it signs. An API server is told by its watch.
fn is_behind(trust: &Trust) -> bool {
    let looked = trust.lock().unwrap().as_ref().map(|(_, looked)| *looked);
    looked.is_none_or(|looked| looked.elapsed() > LIFETIMES.overlap / 2)
}

async fn follow_trust(cluster: kube::Client, trust: Trust, bundles: Arc<AtomicU32>) {
    let api: Api<DynamicObject> = Api::all_with(cluster, &ApiResource::erase::<APIService>(&()));
    let mut last = Vec::new();
    loop {
        let asked = Instant::now();
        let service = api.get(API_SERVICE).await.unwrap();
        let bundle = service.data["spec"]["caBundle"].as_str().unwrap_or_default();
        let bundle = STANDARD.decode(bundle).unwrap();
        if bundle != last && !bundle.is_empty() {
            let mut roots = rustls::RootCertStore::empty();
            for authority in rustls_pem(&bundle) {
                roots.add(CertificateDer::from(authority)).unwrap();
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.resumption = rustls::client::Resumption::disabled();
            *trust.lock().unwrap() = Some((Arc::new(config), asked));
            bundles.fetch_add(1, Ordering::Relaxed);
            last = bundle;
        } else if let Some((_, looked)) = &mut *trust.lock().unwrap() {
            *looked = asked;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A few reviews on one new connection.
async fn reviews(trust: &Trust, port: u16, path: &str) -> Result<(), String> {
    let (config, _) = trust.lock().unwrap().clone().unwrap();
    let fault = |step: &'static str| move |error: std::io::Error| format!("{step}: {error}");
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    let name = ServerName::try_from("pullgate.pullgate.svc").unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = connector.connect(name, stream.map_err(fault("connect"))?).await;
    let mut stream = stream.map_err(fault("handshake"))?;
    let body = r#"{"kind":"AdmissionReview","request":{"uid":"u"}}"#;
    let request = format!(
        "POST {path}?timeout=3s HTTP/1.1\r\nhost: pullgate\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..ON_ONE {
        stream.write_all(request.as_bytes()).await.map_err(fault("write"))?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"true}}") {
            let read = stream.read_buf(&mut answer).await.map_err(fault("read"))?;
            if read == 0 || answer.len() > 4096 {
                return Err(format!("answer: {}", String::from_utf8_lossy(&answer)));
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200 OK") {
            return Err(format!("answer: {}", String::from_utf8_lossy(&answer)));
        }
    }
    Ok(())
}

#[test]
fn renewals_under_load_fail_no_handshake_and_no_review() {
    let Some(program) = program("kube-apiserver") else { return };
    let cluster = ControlPlane::start(program.parent().unwrap()).unwrap();
    apply_base(&cluster.admin());
    let deployed = client(&cluster);
    let (first, of_first) = start(&deployed, "first", LIFETIMES);
    let (second, of_second) = start(&deployed, "second", LIFETIMES);
    let material = wait_for("the first material", || of_first.borrow().clone());
    wait_for("the second's material", || of_second.borrow().clone());
    let ports = [serve(of_first.clone()), serve(of_second.clone())];
    let path = format!("/validate/{}", material.token);

    let (trust, bundles) = (Trust::default(), Arc::new(AtomicU32::new(0)));
    let config = kube::config::Kubeconfig::read_from(cluster.kubeconfig(ADMIN)).unwrap();
    let admin = runtime().block_on(async {
        let options = kube::config::KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
        config.proxy_url = None;
        kube::Client::try_from(config).unwrap()
    });
    let follower = follow_trust(admin, Arc::clone(&trust), Arc::clone(&bundles));
    let follower = runtime().spawn(follower);
    wait_for("trust", || trust.lock().unwrap().is_some().then_some(()));

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    // Threads of its own: neither the keepers nor who follows the bundle are to starve.
    let of_the_load =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let loads: Vec<_> = (0..4)
        .map(|number| {
            let (trust, path) = (Arc::clone(&trust), path.clone());
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            of_the_load.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let behind = is_behind(&trust);
                    if let Err(error) = reviews(&trust, ports[number % 2], &path).await
                        && !behind
                        && !is_behind(&trust)
                    {
                        failed.push(error);
                    }
                    done.fetch_add(ON_ONE, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                failed
            })
        })
        .collect();

    let (began, mut renewals, mut late) = (Instant::now(), 0, None);
    let mut current = of_first.borrow().clone();
    let enough = |renewals: u32| {
        renewals >= 5
            && bundles.load(Ordering::Relaxed) >= 3
            && done.load(Ordering::Relaxed) >= REVIEWS
    };
    while !enough(renewals) && began.elapsed() < LONGEST {
        std::thread::sleep(Duration::from_millis(100));
        let now = of_first.borrow().clone();
        renewals += u32::from(now != current);
        current = now;
        if renewals == 2 && late.is_none() {
            let third = start(&deployed, "third", LIFETIMES);
            wait_for("what is current", || (*third.1.borrow() == *of_first.borrow()).then_some(()));
            late = Some(third);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let failed: Vec<String> =
        loads.into_iter().flat_map(|load| of_the_load.block_on(load).unwrap()).collect();
    let (done, bundles) = (done.load(Ordering::Relaxed), bundles.load(Ordering::Relaxed));
    let told = format!("{done} reviews, {renewals} renewals, {bundles} bundles");
    assert!(failed.is_empty(), "{told}: {} failed: {:?}", failed.len(), failed.first());
    assert!(done >= REVIEWS && renewals >= 5 && bundles >= 3 && late.is_some(), "{told}");
    for task in [first, second].into_iter().chain(late.map(|(task, _)| task)) {
        task.abort();
    }
    follower.abort();
}
