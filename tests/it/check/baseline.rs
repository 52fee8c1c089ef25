//! Old faults that are known, and exceptions of the policy: reported, and no reason to fail.

use serde_json::Value;

use super::run::{Scene, deployment, words};

const MISSING: &str = "REGISTRY/shop/web:9";

#[tokio::test(flavor = "multi_thread")]
async fn known_faults_are_reported_and_fail_nothing() {
    let old = [deployment("old", MISSING), deployment("twice", MISSING)].join("---\n");
    let scene = Scene::new().await.file("app.yaml", &old);
    let check = ["check", "-f", "app.yaml", "--baseline", "known.json"];
    let none = scene.run(&check).await;
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.err.contains("--write-baseline writes one"), "{none:?}");

    let written = scene.run(&[&check[..], &["--write-baseline"]].concat()).await;
    assert_eq!(written.code, 0, "{written:?}");
    assert!(written.err.contains("wrote 2 known faults to known.json"), "{written:?}");
    let said = scene.run(&check).await;
    assert_eq!((said.code, &*said.err), (0, ""), "{said:?}");
    assert!(
        words(&said.out).contains("FAILS container web line 9 tag_not_found known"),
        "{said:?}"
    );
    assert!(said.out.contains("2 fail, 0 cannot tell; 2 known from the baseline"), "{said:?}");

    // Moved within the file and to another one they are the same; another image is none of them,
    // and neither is the same image once more.
    let moved = format!("# first\n\n{}", deployment("old", MISSING));
    let scene = scene.file("app.yaml", &moved).file("b.yaml", &deployment("new", MISSING));
    let flags = ["-o", "text", "-o", "json=r.json", "-o", "sarif=r.sarif"];
    let said = scene.run(&[&check[..], &["-f", "b.yaml"], &flags].concat()).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("1 of the faults in the baseline are gone"), "{said:?}");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(scene.path().join(name)).unwrap()).unwrap()
    };
    let known = |index: usize| read("r.json")["images"][index]["known"].clone();
    assert_eq!((known(0), known(1)), (true.into(), false.into()));
    let sarif = read("r.sarif");
    super::formats::is_valid_sarif(&sarif);
    let results = &sarif["runs"][0]["results"];
    assert_eq!(results[0]["baselineState"], "unchanged");
    assert_eq!(results[0]["level"], "note");
    assert_eq!(results[1]["baselineState"], "new");
    assert_eq!(results[1]["level"], "error");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_by_itself_is_not_written() {
    let closed = deployment("away", "127.0.0.1:1/shop/web:1");
    let scene = Scene::new().await.file("app.yaml", &closed);
    let check = ["check", "-f", "app.yaml", "--fail-on", "cannot-tell", "--baseline", "known.json"];
    let written = scene.run(&[&check[..], &["--write-baseline"]].concat()).await;
    assert!(written.err.contains("wrote 0 known faults"), "{written:?}");
    assert_eq!(scene.run(&check).await.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_baseline_is_not_taken_for_one() {
    let scene = Scene::new().await.file("app.yaml", &deployment("old", MISSING));
    for (content, words) in [
        ("faults: []", "known.json is no baseline"),
        (r#"{"apiVersion": "v1", "kind": "Pod", "faults": []}"#, "it is not a CheckBaseline"),
    ] {
        std::fs::write(scene.path().join("known.json"), content).unwrap();
        let said = scene.run(&["check", "-f", "app.yaml", "--baseline", "known.json"]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_lets_through_here_as_at_admission() {
    let policy = "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {name: site}\n\
                  spec:\n  exceptions:\n  - {name: move, owner: shop team, reason: it moves, \
                  expires: \"2999-01-01\", match: {images: [\"REGISTRY/shop/*\"]}}\n";
    let scene = Scene::new()
        .await
        .file("policy.yaml", policy)
        .file("other.yaml", &policy.replace("REGISTRY/shop/*", "r.example/*"))
        .file("app.yaml", &deployment("old", MISSING));
    let check = ["check", "--policy", "policy.yaml", "-f", "app.yaml"];
    let said = scene.run(&check).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(words(&said.out).contains("by exception move of shop team"), "{said:?}");
    let github = scene.run(&[&check[..], &["-o", "github"]].concat()).await;
    assert!(github.out.contains("::notice "), "{github:?}");
    let other = scene.run(&["check", "--policy", "other.yaml", "-f", "app.yaml"]).await;
    assert_eq!(other.code, 1, "{other:?}");
}
