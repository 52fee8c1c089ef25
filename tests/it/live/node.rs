//! A real node: containerd, a kubelet and a scheduler beside the control plane of the tests.
//!
//! It lives in the namespaces that `tests/live/run.sh` opened. There is no pod network: a plug-in of
//! a few lines answers with an address, which is all that pods without a network need.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::cluster::control_plane::{ADMIN, ControlPlane};
use crate::cluster::process::{self, Process};
use crate::cluster::{PATIENCE, free_port, wait_until};

/// The name of the node.
pub const NODE: &str = "pullgate-live";
/// Its address, which the script gave to the loopback interface: a kubelet refuses 127.0.0.1.
pub const ADDRESS: &str = "10.200.0.1";
const SOCKET: &str = "/run/containerd/containerd.sock";

/// Stands for every network plug-in, also under the name `loopback`.
const NETWORK_PLUGIN: &str = r#"#!/bin/sh
case $CNI_COMMAND in
  VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}' ;;
  ADD) echo '{"cniVersion":"1.0.0","ips":[{"address":"10.201.0.2/24"}]}' ;;
esac
"#;

/// A node that runs.
pub struct Node {
    // In the order in which they have to end.
    scheduler: Process,
    kubelet: Process,
    containerd: Process,
    #[expect(dead_code, reason = "removed when the node is dropped")]
    folder: TempDir,
}

impl Node {
    /// Starts a node of `cluster`, which takes the image of the pods' sandboxes from a registry,
    /// and waits until it is ready and pods can be scheduled to it.
    pub fn start(cluster: &ControlPlane, sandbox: &str) -> Result<Self, String> {
        let folder = process::folder("node");
        let at = folder.path();
        let containerd = start_containerd(cluster.programs(), at, sandbox)?;
        let kubelet = start_kubelet(cluster, at)?;
        let mut scheduler = Command::new(cluster.programs().join("kube-scheduler"));
        scheduler
            .arg(format!("--kubeconfig={}", cluster.kubeconfig(ADMIN).display()))
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
            .arg(format!("--secure-port={}", free_port()))
            .arg(format!("--cert-dir={}", at.display()))
            .args(["--kube-api-qps=200", "--kube-api-burst=400"]);
        let scheduler = Process::start("kube-scheduler", &mut scheduler, at)?;
        let mut node = Self { scheduler, kubelet, containerd, folder };
        node.wait_until_ready(cluster)?;
        Ok(node)
    }

    fn wait_until_ready(&mut self, cluster: &ControlPlane) -> Result<(), String> {
        let admin = cluster.admin();
        wait_until("the node", || {
            self.containerd.still_runs()?;
            self.kubelet.still_runs()?;
            self.scheduler.still_runs()?;
            let node = admin.get(&["node", NODE])?;
            let conditions = node["status"]["conditions"].as_array();
            let ready = conditions.into_iter().flatten().find(|one| one["type"] == "Ready");
            match ready {
                Some(ready) if ready["status"] == "True" => Ok(()),
                other => Err(format!("{other:?}").into()),
            }
        })?;
        // The controller that takes this taint away judges nodes and is not among those that run.
        let taint = "node.kubernetes.io/not-ready:NoSchedule-";
        let _ = admin.run(&["taint", "node", NODE, taint]);
        Ok(())
    }

    /// The ends of the kubelet's and containerd's logs.
    pub fn last_words(&self) -> String {
        [&self.kubelet, &self.containerd].map(|process| process::tail(process.log())).join("\n\n")
    }
}

/// Runs containerd's own client in the namespace of Kubernetes' images.
pub fn ctr(programs: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(programs.join("ctr"));
    command.args(["--address", SOCKET, "--namespace", "k8s.io"]).args(arguments);
    process::run(&mut command, "", PATIENCE).ok()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn start_containerd(programs: &Path, at: &Path, sandbox: &str) -> Result<Process, String> {
    let plugins = at.join("cni/bin");
    for name in ["pullgate-live", "loopback"] {
        let plugin = plugins.join(name);
        write(&plugin, NETWORK_PLUGIN)?;
        fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755))
            .map_err(|error| error.to_string())?;
    }
    let network = json!({
        "cniVersion": "1.0.0", "name": "live", "plugins": [{"type": "pullgate-live"}],
    });
    write(&at.join("cni/conf/10-live.conflist"), &network.to_string())?;
    let path = |name: &str| at.join(name).display().to_string();
    let runc = programs.join("runc-plain").display().to_string();
    let config = format!(
        r#"version = 3
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
[plugins."io.containerd.cri.v1.images"]
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{sandbox}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{hosts}"
"#,
        root = path("containerd"),
        plugins = path("cni/bin"),
        networks = path("cni/conf"),
        hosts = path("certs.d"),
    );
    write(&at.join("containerd.toml"), &config)?;
    let mut command = Command::new(programs.join("containerd"));
    command.arg("--config").arg(at.join("containerd.toml")).args(["--log-level", "warn"]);
    command.env("PATH", search_path(programs));
    let mut process = Process::start("containerd", &mut command, at)?;
    wait_until("containerd's socket", || {
        process.still_runs()?;
        if Path::new(SOCKET).exists() { Ok(()) } else { Err(SOCKET.to_owned().into()) }
    })?;
    Ok(process)
}

/// containerd looks for its shim, and for `runc`, where programs are looked for.
fn search_path(programs: &Path) -> String {
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", programs.display())
}

fn start_kubelet(cluster: &ControlPlane, at: &Path) -> Result<Process, String> {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "address": ADDRESS, "port": free_port(), "readOnlyPort": 0, "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        // There is no systemd, and nobody gave this run control groups with limits of their own.
        "cgroupDriver": "cgroupfs", "cgroupRoot": "/pullgate-live", "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [], "failCgroupV1": false, "failSwapOn": false,
        "localStorageCapacityIsolation": false, "makeIPTablesUtilChains": false,
        // A pull that hangs is not to hold up the others, and none waits for its turn.
        "serializeImagePulls": false, "registryPullQPS": 0,
        "eventRecordQPS": 0, "kubeAPIQPS": 200, "kubeAPIBurst": 400, "maxPods": 500,
        // What Pullgate knows of the node is to be as fresh as it can be.
        "nodeStatusUpdateFrequency": "2s", "nodeStatusMaxImages": -1,
        // The disk of the machine is not this test's.
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "resolvConf": "",
    });
    write(&at.join("kubelet.json"), &config.to_string())?;
    let mut command = Command::new(cluster.programs().join("kubelet"));
    command
        .arg("--config")
        .arg(at.join("kubelet.json"))
        .arg(format!("--kubeconfig={}", cluster.kubeconfig(ADMIN).display()))
        .args([&format!("--hostname-override={NODE}"), &format!("--node-ip={ADDRESS}")])
        .arg(format!("--root-dir={}", at.join("kubelet").display()))
        .arg(format!("--cert-dir={}", at.join("kubelet-pki").display()));
    Process::start("kubelet", &mut command, at)
}
