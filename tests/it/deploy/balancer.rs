//! What stands between the API server and the replicas in a cluster: connections go to replicas
//! that say they are ready. And the API server's side of a Service that leads there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::deployed::{Deployed, Replica};
use crate::cluster::kubectl::Kubectl;
use crate::cluster::{PATIENCE, runtime};

/// The replicas: where they listen, and whether they were ready when last asked.
type Replicas = Arc<Mutex<BTreeMap<u16, (u16, bool)>>>;

/// Makes each Service's own address one of this machine: what stands before the replicas listens there,
/// and nothing of the Service is changed for it. An argument for the API server.
pub(super) const SERVICES_ON_LOOPBACK: &str = "--service-cluster-ip-range=127.96.0.0/16";

/// A balancer on a port of loopback; it ends with its value. Ports are given out again: one that went on
/// would ask what other tests have put there.
pub(super) struct Balancer {
    pub(super) port: u16,
    replicas: Replicas,
    tasks: [AbortHandle; 2],
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Balancer {
    pub(super) fn start() -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap())
    }

    /// At the address of Pullgate's Service, of a cluster with [`SERVICES_ON_LOOPBACK`]. The endpoint that
    /// is written for it is for the aggregation layer, which asks nobody where there is none.
    pub(super) fn of_the_service(kubectl: &Kubectl) -> Self {
        let service = kubectl.get(&["service", "-n", "pullgate", "pullgate"]).unwrap();
        let port = &service["spec"]["ports"][0];
        kubectl.create(&json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "pullgate-replicas", "namespace": "pullgate",
                "labels": {"kubernetes.io/service-name": "pullgate"}},
            "addressType": "IPv4", "ports": [{"name": port["name"], "port": 8443}],
            "endpoints": [{"addresses": ["192.0.2.7"], "conditions": {"ready": true}}]}));
        let address = service["spec"]["clusterIP"].as_str().unwrap();
        Self::listen(format!("{address}:{}", port["port"]).parse().unwrap())
    }

    fn listen(address: std::net::SocketAddr) -> Self {
        let replicas = Replicas::default();
        let listener = runtime().block_on(TcpListener::bind(address)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = runtime().spawn(accept(listener, Arc::clone(&replicas)));
        let probing = runtime().spawn(probe(Arc::clone(&replicas)));
        let tasks = [accepting.abort_handle(), probing.abort_handle()];
        Self { port, replicas, tasks }
    }

    /// From now on connections may go to this replica too.
    pub(super) fn add(&self, replica: &Replica) {
        self.replicas.lock().unwrap().insert(replica.listen, (replica.admin, false));
    }
}

/// Asks every replica ten times a second, as a kubelet does less often.
async fn probe(replicas: Replicas) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let client = client.timeout(Duration::from_millis(500)).build().unwrap();
    loop {
        let all: Vec<_> = replicas.lock().unwrap().iter().map(|(l, (a, _))| (*l, *a)).collect();
        for (listen, admin) in all {
            let answer = client.get(format!("http://127.0.0.1:{admin}/readyz")).send().await;
            let ready = match answer {
                Ok(answer) => answer.status().is_success(),
                // One late answer of a busy machine is no word about readiness.
                Err(error) if error.is_timeout() => continue,
                Err(_) => false,
            };
            replicas.lock().unwrap().insert(listen, (admin, ready));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn accept(listener: TcpListener, replicas: Replicas) {
    let mut turn = 0;
    while let Ok((mut client, _)) = listener.accept().await {
        let ready: Vec<u16> = {
            let replicas = replicas.lock().unwrap();
            replicas.iter().filter(|(_, (_, ready))| *ready).map(|(listen, _)| *listen).collect()
        };
        turn += 1;
        let Some(port) = ready.get(turn % ready.len().max(1)).copied() else { continue };
        tokio::spawn(async move {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

impl Deployed {
    /// Lets the Service lead to loopback, where this test has put something on its port.
    pub(super) fn route_to_loopback(&self) {
        let elsewhere = r#"{"spec":{"type":"ExternalName","externalName":"localhost",
            "clusterIP":null,"clusterIPs":null,"selector":null}}"#;
        let patch = ["patch", "service", "-n", "pullgate", "pullgate", "-p", elsewhere];
        self.kubectl.run(&patch).ok().unwrap();
    }

    /// A client of the API server, as the administrator.
    pub(super) fn api(&self) -> kube::Client {
        let path = self.cluster.kubeconfig(crate::cluster::control_plane::ADMIN);
        runtime().block_on(async {
            let config = kube::config::Kubeconfig::read_from(path).unwrap();
            let options = kube::config::KubeConfigOptions::default();
            let mut config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
            config.proxy_url = None;
            config.read_timeout = Some(PATIENCE);
            config.connect_timeout = Some(PATIENCE);
            kube::Client::try_from(config).unwrap()
        })
    }
}
