//! What is worth knowing of images that work.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::run::{Scene, deployment, pull_secret, words};

const ALL: &[&str] = &["-o=text", "-o=json=r.json", "-o=sarif=r.sarif", "-o=junit=r.xml"];

fn kept(name: &str, image: &str) -> String {
    format!("{}        imagePullPolicy: IfNotPresent\n", deployment(name, image))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_everybody_moves_is_noted_where_nodes_keep_it() {
    let scene = Scene::new()
        .await
        .file("k8s/a.yaml", &kept("latest", "REGISTRY/shop/web:latest"))
        .file("k8s/b.yaml", &kept("blank", "REGISTRY/shop/web"))
        // Pulled anew by each pod, and a tag that has a number.
        .file("k8s/c.yaml", &deployment("fresh", "REGISTRY/shop/web:latest"))
        .file("k8s/d.yaml", &kept("numbered", "REGISTRY/shop/web:1.0"))
        .file("on.yaml", &policy("{mutableTags: true}"))
        .file("off.yaml", &policy("{mutableTags: false}"))
        .file("nothing.yaml", &policy("{}"));
    for more in [&[][..], &["--policy=on.yaml"], &["--policy=nothing.yaml"]] {
        let said = scene.run(&[&["check", "-f", "k8s"], ALL, more].concat()).await;
        assert_eq!((said.code, &*said.err), (0, ""), "{said:?}");
        let report = words(&said.out);
        for name in ["latest", "blank"] {
            assert!(report.contains(&format!("Deployment shop/{name} (")), "{report}");
        }
        assert!(!report.contains("shop/fresh") && !report.contains("shop/numbered"), "{report}");
        assert!(report.contains("works container web line 9 mutable_tag"), "{report}");
        assert!(
            report
                .contains("its tag may mean another image tomorrow; with IfNotPresent nodes keep"),
            "{report}"
        );
        let read = |name: &str| std::fs::read_to_string(scene.path().join(name)).unwrap();
        let sarif: Value = serde_json::from_str(&read("r.sarif")).unwrap();
        super::formats::is_valid_sarif(&sarif);
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        let told: Vec<_> =
            results.iter().map(|one| (one["ruleId"].as_str(), one["level"].as_str())).collect();
        assert_eq!(told, [(Some("mutable_tag"), Some("note")); 2]);
        let json: Value = serde_json::from_str(&read("r.json")).unwrap();
        assert_eq!(json["images"][0]["advice"][0]["kind"], "mutable_tag");
        assert_eq!(json["images"][0]["advice"][0]["value"], json["images"][0]["digest"]);
        let junit = read("r.xml");
        assert!(junit.contains("failures=\"0\" errors=\"0\" skipped=\"0\""), "{junit}");
        assert_eq!(junit.matches("<system-out>note: image ").count(), 2, "{junit}");
    }
    let said = scene.run(&["check", "-f", "k8s", "--policy=off.yaml"]).await;
    assert_eq!(
        (said.code, &*said.out),
        (0, "4 images in 4 objects: 4 work, 0 fail, 0 cannot tell\n"),
        "{said:?}"
    );
}

/// A token that ends so many hours from now.
fn token(hours: i64) -> String {
    let end = jiff::Timestamp::now().as_second() + hours * 3600 + 600;
    let body = URL_SAFE_NO_PAD.encode(format!("{{\"exp\": {end}}}"));
    format!("eyJhbGciOiJub25lIn0.{body}.c2ln")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_ends_within_a_day_is_noted() {
    let object = |name: &str, secret: &str| {
        let named = format!("      imagePullSecrets: [{{name: {secret}}}]\n      containers:");
        deployment(name, "REGISTRY/shop/web:1.0").replace("      containers:", &named)
    };
    let scene = Scene::new()
        .await
        .file("k8s/a.yaml", &(object("soon", "five-hours") + &pull_secret("five-hours", &token(5))))
        .file("k8s/b.yaml", &(object("later", "a-week") + &pull_secret("a-week", &token(168))));
    let said = scene.run(&[&["check", "-f", "k8s"], ALL].concat()).await;
    assert_eq!((said.code, &*said.err), (0, ""), "{said:?}");
    insta::assert_snapshot!(said.out, @r"
    Deployment shop/soon (k8s/a.yaml)
      works       container web  line 10  pull_secret_expires
              REGISTRY/shop/web:1.0
              can be pulled now, but not for long; the login in secret five-hours expires in 5 h:
              renew it

    2 images in 2 objects: 2 work, 0 fail, 0 cannot tell
    ");
    let read = |name: &str| std::fs::read_to_string(scene.path().join(name)).unwrap();
    let sarif: Value = serde_json::from_str(&read("r.sarif")).unwrap();
    super::formats::is_valid_sarif(&sarif);
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let told: Vec<_> = results.iter().map(|one| (&one["ruleId"], &one["level"])).collect();
    assert_eq!(told, [(&json!("pull_secret_expires"), &json!("note"))]);
    let report: Value = serde_json::from_str(&read("r.json")).unwrap();
    let [soon, later] = [&report["images"][0], &report["images"][1]];
    assert_eq!((&soon["verdict"], &soon["note"]), (&json!("works"), &json!("pull_secret_expires")));
    assert_eq!(soon["advice"][0]["kind"], "secret_expires");
    assert_eq!(soon["advice"][0]["value"], "five-hours");
    let message = "the login in secret five-hours expires in 5 h: renew it";
    assert_eq!(soon["advice"][0]["message"], message);
    assert_eq!((&later["verdict"], &later["advice"]), (&json!("works"), &json!([])));
    assert!(!format!("{said:?}{}", read("r.json")).contains("eyJ"), "no token is shown");
}

fn policy(advice: &str) -> String {
    format!(
        "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {{name: default}}\n\
         spec: {{advice: {advice}}}\n"
    )
}
