//! What is deployed: the chart, the kustomize base, the image, the certificates' objects. Read as
//! data and compared with each other and with the code; accepted by a real API server elsewhere.

mod accepted;
mod alerts;
mod argo_cd;
mod audit;
mod balancer;
mod cert_manager;
mod chart;
mod clock;
mod dashboard;
mod deployed;
mod drift;
mod examples;
mod files;
mod fired;
mod foreign;
mod helm;
mod helm_test;
mod image;
mod kept;
mod load;
mod manifests;
mod pages;
mod policy_object;
mod release;
mod reports;
mod resting;
mod rights;
mod rolling;
mod rotation;
mod runs;
mod sighted;
pub mod tekton;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository as text.
fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of a YAML text, empty documents left out.
fn objects(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// The objects of the kustomize base that the chart has too.
fn base() -> Vec<Value> {
    objects(&read("deploy/kustomize/base/pullgate.yaml"))
}

/// The one object of this kind, with this name if several have it.
fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// All strings of a list.
fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The program that was built for the cluster tests, or nothing after a line `skipped: …`.
fn program(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(super::cluster::BIN_VARIABLE).filter(|value| !value.is_empty());
    let Some(folder) = folder else {
        super::cluster::skipped(&format!("{} is not set", super::cluster::BIN_VARIABLE));
        return None;
    };
    let program = root().join(folder).join(name);
    if !program.is_file() {
        super::cluster::skipped(&format!("there is no {}", program.display()));
        return None;
    }
    Some(program)
}

/// The debug program without its symbols: they are most of it, and of the time that packing takes.
fn stripped_program(to: &Path) -> PathBuf {
    let (program, stripped) = (env!("CARGO_BIN_EXE_pullgate"), to.join("pullgate"));
    let strip = std::process::Command::new("strip").arg("-o").arg(&stripped).arg(program).status();
    if !strip.is_ok_and(|status| status.success()) {
        std::fs::copy(program, &stripped).unwrap();
    }
    stripped
}
