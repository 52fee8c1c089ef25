//! Platform matching against containerd's library.

use proptest::prelude::*;
use proptest::sample::select;
use pullgate::image::{Platform, PlatformRule};
use serde_json::json;

use super::client::Oracle;
use super::{cases, compare};

fn platforms() -> impl Strategy<Value = Platform> {
    let os =
        select(&["linux", "linux", "linux", "Linux", "windows", "darwin", "macos", "unknown"][..]);
    let architecture = select(
        &[
            "amd64", "amd64", "x86_64", "x86-64", "AMD64", "arm64", "arm64", "aarch64", "arm",
            "arm", "armhf", "armel", "386", "i386", "s390x", "unknown", "",
        ][..],
    );
    let variant = select(
        &[
            "", "", "", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "5", "6", "7", "8",
            "9", "V7", "v8.0", "v8.1", "v8.9", "v8.10", "v9.0", "v9.1", "v9.7", "v9.8", "x",
        ][..],
    );
    let version = select(
        &[
            "",
            "",
            "",
            "10.0.17763.1",
            "10.0.20348.1",
            "10.0.20348.2",
            "10.0.25398.1",
            "10.0.26100.1",
            "10.0.27000.9",
            "10.0",
            "10.0.x.1",
            "11.0.20348.1",
            "10.0.70000.1",
        ][..],
    );
    (os, architecture, variant, version).prop_map(|(os, architecture, variant, version)| Platform {
        os_version: version.to_owned(),
        ..Platform::new(os, architecture).with_variant(variant)
    })
}

/// A node and an entry, which often share what is not under test.
fn pairs() -> impl Strategy<Value = (Platform, Platform)> {
    let related = |architecture: &str| match architecture {
        "arm64" | "aarch64" => &["arm64", "aarch64", "arm", "armhf"][..],
        "arm" | "armhf" | "armel" => &["arm", "arm", "armel", "arm64"][..],
        "386" | "i386" => &["386", "i386"][..],
        _ => &["amd64", "x86_64", "386"][..],
    };
    (platforms(), platforms(), any::<prop::sample::Index>(), 0..8_u8).prop_map(
        move |(node, mut entry, pick, shared)| {
            if shared > 0 {
                entry.os.clone_from(&node.os);
                (*pick.get(related(&node.architecture))).clone_into(&mut entry.architecture);
            }
            if shared > 4 {
                entry.variant.clone_from(&node.variant);
            }
            (node, entry)
        },
    )
}

#[test]
fn every_row_of_the_table_of_platforms_holds() {
    let table = cases(include_str!("../../oracle/cases/platforms.jsonl"));
    for case in &table {
        let platform =
            |what: &str| -> Platform { serde_json::from_value(case[what].clone()).unwrap() };
        let (node, entry) = (platform("node"), platform("entry"));
        let ours = json!({
            "classic": node.matches(&entry, PlatformRule::ContainerdClassic),
            "strict": node.matches(&entry, PlatformRule::ContainerdStrict),
        });
        assert_eq!(ours, case["want"], "{case}");
    }
    assert_eq!(table.len(), 160);
}

#[test]
fn generated_platforms() {
    compare("platforms", 4, &pairs(), |oracle: &mut Oracle, (node, entry)| {
        let theirs = oracle.ask(&json!({"op": "platform", "node": node, "entry": entry}));
        let ours = json!({
            "classic": node.matches(entry, PlatformRule::ContainerdClassic),
            "strict": node.matches(entry, PlatformRule::ContainerdStrict),
        });
        if ours == theirs {
            return Ok(if ours["classic"] == true { "runs" } else { "does not run" });
        }
        Err(format!("{node} takes {entry}: ours {ours}, theirs {theirs}"))
    });
}
