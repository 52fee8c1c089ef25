//! The image that needs no base (`make image-scratch`), read back from its OCI layout, and made of
//! the debug program where none was built.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::root;
use crate::cluster::process::folder;

/// Where `make image-scratch` has put the layout of the optimised program.
const LAYOUT: &str = "PULLGATE_IMAGE_LAYOUT";

/// An image as it stands in a layout.
struct Image {
    config: Value,
    manifest: Value,
    annotations: Value,
    /// What is in the layers: mode, owner and size by path.
    files: BTreeMap<String, (u32, u64, u64)>,
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

impl Image {
    fn read(layout: &Path) -> Self {
        let index = json(&std::fs::read(layout.join("index.json")).unwrap());
        assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
            let bytes = std::fs::read(layout.join("blobs").join(digest)).unwrap();
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        let manifest = json(&blob(&index["manifests"][0]));
        let config = json(&blob(&manifest["config"]));
        let mut files = BTreeMap::new();
        for layer in manifest["layers"].as_array().unwrap() {
            let mut tar = Vec::new();
            let bytes = blob(layer);
            flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut tar).unwrap();
            let mut archive = tar::Archive::new(tar.as_slice());
            for entry in archive.entries().unwrap() {
                let entry = entry.unwrap();
                let head = entry.header();
                let path = format!("/{}", entry.path().unwrap().display());
                let kept = (head.mode().unwrap(), head.uid().unwrap(), head.size().unwrap());
                if head.entry_type().is_file() {
                    files.insert(path, kept);
                }
            }
        }
        let annotations = index["manifests"][0]["annotations"].clone();
        Self { config, manifest, annotations, files }
    }

    fn compressed(&self) -> u64 {
        let layers = self.manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["size"].as_u64().unwrap()).sum()
    }

    fn unpacked(&self) -> u64 {
        self.files.values().map(|(_, _, size)| size).sum()
    }
}

/// Packs a program as `make image-scratch` does; nothing, after a line, if there is no Go.
fn pack(program: &Path, to: &Path) -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        crate::cluster::skipped("there is no Go, which packs images");
        return None;
    }
    let layout = to.join("layout");
    let mut script = Command::new(root().join("deploy/image/build.sh"));
    script
        .arg(program)
        .arg(&layout)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("GOTOOLCHAIN", "local");
    let output = script.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(layout)
}

#[test]
fn an_image_without_a_base_has_the_program_and_what_it_needs_and_no_more() {
    let to = folder("image");
    let given = std::env::var_os(LAYOUT).filter(|value| !value.is_empty()).map(PathBuf::from);
    let optimised = given.is_some();
    let debug = || pack(&super::stripped_program(to.path()), to.path());
    let Some(layout) = given.or_else(debug) else { return };
    let image = Image::read(&layout);

    let run = &image.config["config"];
    assert_eq!(run["User"], "65532:65532");
    assert_eq!(run["Entrypoint"], serde_json::json!(["/pullgate"]));
    assert_eq!(run["Cmd"], serde_json::json!(["serve"]));
    let ports: Vec<_> = run["ExposedPorts"].as_object().unwrap().keys().collect();
    assert_eq!(ports, ["8080/tcp", "8443/tcp"]);
    assert!(run["Env"].is_null() && run["Volumes"].is_null(), "{run}");
    for label in ["title", "description", "source", "licenses", "version", "revision", "created"] {
        let label = format!("org.opencontainers.image.{label}");
        assert!(run["Labels"][&label].as_str().is_some_and(|one| !one.is_empty()), "{label}");
        assert_eq!(run["Labels"][&label], image.manifest["annotations"][&label]);
    }
    assert_eq!(run["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(image.config["os"], "linux");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(image.config["architecture"], architecture);
    // What a runtime that is given the archive calls it, so that a pod finds it.
    let name = &image.annotations["io.containerd.image.name"];
    assert_eq!(name, "docker.io/library/pullgate:dev");

    for (path, (mode, owner, _)) in &image.files {
        assert!(*owner == 0 && mode & 0o222 == 0, "{path} is writable, or not root's");
        assert_eq!(mode & 0o7000, 0, "{path} is more than it seems");
        let name = path.rsplit('/').next().unwrap();
        assert!(!["sh", "bash", "busybox", "ash", "dash", "apt", "apk"].contains(&name), "{path}");
        let expected = path == "/pullgate"
            || path.starts_with("/etc/")
            || name.contains(".so")
            || name.starts_with("ld-");
        assert!(expected, "nobody needs {path}");
    }
    for needed in ["/pullgate", "/etc/passwd", "/etc/ssl/certs/ca-certificates.crt"] {
        assert!(image.files.contains_key(needed), "{needed} is missing");
    }
    let programs = image
        .files
        .iter()
        .filter(|(path, (mode, _, _))| mode & 0o111 != 0 && !path.contains(".so"));
    assert_eq!(programs.count(), 1, "a program beside it: {:?}", image.files);
    let (packed, unpacked) = (image.compressed(), image.unpacked());
    println!("{packed} bytes to pull, {unpacked} bytes unpacked");
    if optimised {
        assert!(packed <= 20_000_000, "{packed} bytes to pull");
    }
}

#[test]
fn the_same_program_gives_the_same_image_and_it_runs_from_its_own_root_alone() {
    let to = folder("image");
    let program = &super::stripped_program(to.path());
    let (one, two) = (to.path().join("one"), to.path().join("two"));
    let Some(first) = pack(program, &one) else { return };
    let second = pack(program, &two).unwrap();
    let index = |layout: &Path| std::fs::read_to_string(layout.join("index.json")).unwrap();
    assert_eq!(index(&first), index(&second));

    // Its libraries are all there: with nothing of this machine to fall back on it still runs.
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout.trim_ascii() != b"0" {
        return crate::cluster::skipped("only root may change the root folder");
    }
    let laid_out = to.path().join("root");
    let script = root().join("deploy/image/root.sh");
    assert!(Command::new(script).arg(program).arg(&laid_out).status().unwrap().success());
    let run = |arguments: &[&str]| {
        let output = Command::new("chroot")
            .args(["--userspec=65532:65532"])
            .arg(&laid_out)
            .arg("/pullgate")
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &said)
    };
    let (code, said) = run(&["version"]);
    assert!(code == Some(0) && said.starts_with("pullgate: "), "{said}");
    // A name is resolved, without a resolver in reach: it says so and does not fall over.
    let (code, said) = run(&["check", "--image", "registry.invalid/a/b:1", "--timeout", "5s"]);
    assert!(code == Some(0) && said.contains("cannot tell"), "{code:?} {said}");
}
