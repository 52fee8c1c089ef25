//! Differential tests: the kubelet's, containerd's and CRI-O's own code (`tests/oracle`) is asked
//! the same questions as ours, over the case tables and over generated cases.
//!
//! They run when `PULLGATE_CLUSTER_BIN` names a folder with the program `oracle`.
//! `PULLGATE_ORACLE_CASES` and `PULLGATE_ORACLE_SEED` choose how many cases and which. A
//! disagreement is shrunk to a minimal case.

mod client;
mod crio;
mod documents;
mod live;
mod mirrors;
mod mixed;
mod names;
mod odd_registries;
mod platforms;
mod secrets;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::Value;

use client::Oracle;

/// How many cases are generated for references, and again for keyrings, unless it is said
/// otherwise.
const CASES: u32 = 12_000;
const SEED: u64 = 20_261_120;

/// The cases of a table under `tests/oracle/cases`: questions of the oracle, with the answers under `want`.
pub(crate) fn cases(table: &str) -> Vec<Value> {
    table.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What others run, run: every table against the kubelet's, containerd's and CRI-O's own code.
#[test]
fn the_tables_are_theirs() {
    let Some(program) = client::program() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/cases");
    let mut tables: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    tables.sort();
    let run = |tables: &[PathBuf]| {
        let output = Command::new(&program).arg("check").args(tables).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&tables), (Some(0), "567 cases, 0 differ\n".to_owned()));
    // It does compare.
    let folder = crate::cluster::process::folder("cases");
    let wrong = folder.path().join("wrong.jsonl");
    let case = r#"{"op": "parse", "image": "nginx", "want": {"tag": "stable", "error": ""}}"#;
    std::fs::write(&wrong, case).unwrap();
    let (code, said) = run(std::slice::from_ref(&wrong));
    assert_eq!(code, Some(1));
    let told = format!("{}:1: tag: want \"stable\", is \"latest\"\n", wrong.display());
    assert_eq!(said, format!("{told}1 cases, 1 differ\n"));
    let asked = Command::new(&program).arg("versions").output().unwrap();
    let versions = String::from_utf8(asked.stdout).unwrap();
    assert!(versions.contains("k8s.io/kubernetes v1."), "{versions}");
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => {
            text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}"))
        }
        _ => default,
    }
}

/// Asks both sides about generated cases, and fails with the smallest one on which they differ.
/// `check` names the kind of case, so that it shows what was covered.
fn compare<S: Strategy>(
    what: &str,
    share: u32,
    cases: &S,
    check: impl Fn(&mut Oracle, &S::Value) -> Result<&'static str, String>,
) {
    let Some(oracle) = Oracle::start() else { return };
    let kinds = RefCell::new(BTreeMap::<&str, u32>::new());
    let oracle = RefCell::new(oracle);
    let total = u32::try_from(number("PULLGATE_ORACLE_CASES", CASES.into())).unwrap_or(u32::MAX);
    let seed = number("PULLGATE_ORACLE_SEED", SEED);
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: (total / share).max(1),
        failure_persistence: None,
        // Live cases take their time.
        max_shrink_iters: if share < 20 { 20_000 } else { 200 },
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
    let cases_run = config.cases;
    let result = TestRunner::new_with_rng(config, rng).run(cases, |case| {
        let kind = check(&mut oracle.borrow_mut(), &case).map_err(TestCaseError::fail)?;
        *kinds.borrow_mut().entry(kind).or_default() += 1;
        Ok(())
    });
    match result {
        Ok(()) => {
            let kinds = kinds.into_inner();
            println!("{what}: {cases_run} cases, seed {seed}, no disagreement: {kinds:?}");
            // Generators that bring forth one kind only would prove little.
            let most = kinds.values().max().copied().unwrap_or_default();
            assert!(most < cases_run / 10 * 9 || cases_run < 100, "one-sided cases: {kinds:?}");
        }
        Err(TestError::Fail(reason, case)) => {
            panic!("{what}, seed {seed}: {reason}\nminimal case: {case:#?}")
        }
        Err(TestError::Abort(reason)) => panic!("{what}, seed {seed}: given up: {reason}"),
    }
}
