//! What a release consists of, packed twice: the same bytes, with everything that belongs in it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::chart::render;
use super::{program, root};
use crate::cluster::process::folder;

const EPOCH: u64 = 1_700_000_000;

/// Packs a program as `make release` does, without compiling; what it said.
fn pack(program: &Path, out: &Path) -> String {
    let mut script = Command::new(root().join("deploy/release.sh"));
    script.arg("--out").arg(out).arg("--pack-only").arg(program);
    script.env("SOURCE_DATE_EPOCH", EPOCH.to_string());
    let output = script.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Mode and content of every file in an archive; one time, and nobody's.
fn unpacked(archive: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut tar = Vec::new();
    let file = std::fs::File::open(archive).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut tar).unwrap();
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, head) = (entry.path().unwrap().display().to_string(), entry.header().clone());
        assert_eq!(head.mtime().unwrap(), EPOCH, "{path}");
        assert_eq!((head.uid().unwrap(), head.gid().unwrap()), (0, 0), "{path}");
        assert_eq!(head.username().unwrap().unwrap_or_default(), "", "{path}");
        if head.entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.insert(path, (head.mode().unwrap() & 0o777, content));
        }
    }
    found
}

#[test]
fn a_release_is_the_same_bytes_twice_and_complete() {
    let to = folder("release");
    let stripped = super::stripped_program(to.path());
    let (one, two) = (to.path().join("one"), to.path().join("two"));
    let said = pack(&stripped, &one);
    pack(&stripped, &two);
    let sums = |folder: &Path| std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&one), sums(&two));
    let check =
        Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(&one).output();
    assert!(check.unwrap().status.success());

    let version = env!("CARGO_PKG_VERSION");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let name = format!("pullgate-{version}-linux-{architecture}");
    let files = unpacked(&one.join(format!("{name}.tar.gz")));
    let has = |path: &str| {
        files.get(&format!("{name}/{path}")).unwrap_or_else(|| panic!("{path}: {:?}", files.keys()))
    };
    assert_eq!(has("pullgate").0, 0o755);
    assert_eq!(has("pullgate").1, std::fs::read(&stripped).unwrap());
    for path in ["LICENSE", "README.md", "CHANGELOG.md"] {
        assert_eq!(has(path).1, std::fs::read(root().join(path)).unwrap());
    }
    for (path, word) in [
        ("completions/pullgate.bash", "complete -F"),
        ("completions/_pullgate", "#compdef pullgate"),
        ("completions/pullgate.fish", "complete -c pullgate"),
        ("man/pullgate.1", ".TH pullgate"),
        ("man/pullgate-check.1", ".TH"),
        ("man/pullgate-serve.1", ".TH"),
    ] {
        let text = String::from_utf8_lossy(&has(path).1);
        assert!(text.contains(word), "{path} without {word}");
    }
    // The other architecture is there, or it is said why it is not.
    assert!(said.contains("linux/arm64: not") || said.contains("linux/amd64: not"), "{said}");

    krew_finds_the_program(&one, version);

    // The chart in it is the chart.
    let chart = format!("pullgate-chart-{version}.tgz");
    let files = unpacked(&one.join(&chart));
    assert!(files.contains_key("pullgate/Chart.yaml"), "{:?}", files.keys());
    if let Some(helm) = program("helm") {
        let output = Command::new(&helm)
            .args(["template", "pullgate"])
            .arg(one.join(&chart))
            .args(["--namespace", "pullgate", "--no-hooks"])
            .env("KUBECONFIG", "/nonexistent")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rendered = super::objects(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(rendered, render(&helm, &[]).unwrap());
    }

    // What it is made of, where the tool that says so is there.
    let bom = one.join(format!("pullgate-{version}.cdx.json"));
    let Ok(bom) = std::fs::read_to_string(bom) else {
        assert!(said.contains("no SBOM: cargo install"), "{said}");
        return crate::cluster::skipped("there is no cargo-cyclonedx, which writes the SBOM");
    };
    let bom: Value = serde_json::from_str(&bom).unwrap();
    assert_eq!(bom["bomFormat"], "CycloneDX");
    let components = bom["components"].as_array().unwrap();
    for needed in ["rustls", "kube", "axum", "tokio"] {
        assert!(components.iter().any(|one| one["name"] == needed), "{needed}");
    }
    let locked: toml::Table = super::read("Cargo.lock").parse().unwrap();
    let locked = locked["package"].as_array().unwrap();
    for component in components {
        let same = |package: &toml::Value| {
            package["name"].as_str() == component["name"].as_str()
                && package["version"].as_str() == component["version"].as_str()
        };
        assert!(locked.iter().any(same), "{component} is not in Cargo.lock");
    }
}

/// What krew's own check of a manifest asks for, and that what it names is in the archive.
fn krew_finds_the_program(release: &Path, version: &str) {
    let manifest = std::fs::read_to_string(release.join(format!("pullgate-{version}-krew.yaml")));
    let manifest: Value = serde_saphyr::from_str(&manifest.unwrap()).unwrap();
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(manifest["kind"], "Plugin");
    assert_eq!(manifest["metadata"]["name"], "pullgate");
    let spec = &manifest["spec"];
    assert_eq!(spec["version"], format!("v{version}"));
    assert!(spec["shortDescription"].as_str().unwrap().len() < 50);
    assert!(!spec["description"].as_str().unwrap().is_empty());
    let platform = &spec["platforms"][0];
    assert_eq!(platform["selector"]["matchLabels"]["os"], "linux");
    let uri = platform["uri"].as_str().unwrap();
    let (place, name) = uri.rsplit_once('/').unwrap();
    assert!(place.ends_with(&format!("/releases/download/v{version}")), "{uri}");
    let bytes = std::fs::read(release.join(name)).unwrap();
    let digest = ::pullgate::image::Digest::of_sha256(&bytes).to_string();
    assert_eq!(format!("sha256:{}", platform["sha256"].as_str().unwrap()), digest);
    let packed = unpacked(&release.join(name));
    let files = platform["files"].as_array().unwrap();
    for file in files {
        assert!(packed.contains_key(file["from"].as_str().unwrap()), "{file}");
        assert_eq!(file["to"], ".");
    }
    let bin = format!("/{}", platform["bin"].as_str().unwrap());
    assert!(files.iter().any(|file| file["from"].as_str().unwrap().ends_with(&bin)));
}
