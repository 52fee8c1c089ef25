//! Lock files, and digests put into files.

use serde_json::Value;

use super::run::{Said, Scene, deployment, words};

const GOOD: &str = "REGISTRY/shop/web:1.0";

fn read(scene: &Scene, name: &str) -> String {
    std::fs::read_to_string(scene.path().join(name)).unwrap()
}

async fn lock(scene: &Scene) -> Said {
    scene.run(&["lock", "-f", "k8s"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_has_moved_fails() {
    let scene = Scene::new()
        .await
        .file("k8s/web.yaml", &deployment("web", GOOD))
        .file("k8s/arm.yaml", &deployment("arm", "REGISTRY/multi/arm:1"));
    let none = scene.run(&["check", "-f", "k8s", "--locked"]).await;
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.err.contains("pullgate lock writes one"), "{none:?}");

    let said = lock(&scene).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("+ REGISTRY/multi/arm:1 sha256:"), "{said:?}");
    assert!(said.err.contains("pullgate.lock: 2 images"), "{said:?}");
    let written = read(&scene, "pullgate.lock");
    let document: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(document["kind"], "ImageLock");
    assert_eq!(document["images"][0]["platforms"], serde_json::json!(["linux/arm64"]));
    let locked = ["check", "-f", "k8s", "--locked"];
    assert_eq!(scene.run(&locked).await.code, 0);
    // The same again changes nothing.
    let again = lock(&scene).await;
    assert_eq!((&*again.out, read(&scene, "pullgate.lock")), ("", written.clone()));

    // The tag stands for something else than is written down.
    let digest = document["images"][1]["digest"].as_str().unwrap();
    let other = format!("sha256:{}", "0".repeat(64));
    std::fs::write(scene.path().join("pullgate.lock"), written.replace(digest, &other)).unwrap();
    let flags = ["-o", "text", "-o", "json=r.json", "-o", "sarif=r.sarif", "-o", "junit=r.xml"];
    let said = scene.run(&[&locked[..], &flags].concat()).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(words(&said.out).contains("LOCK container web line 9 tag_moved"), "{said:?}");
    assert!(words(&said.out).contains(&format!("since it was locked as {other}")), "{said:?}");
    assert!(
        said.out.contains("2 work, 0 fail, 0 cannot tell; 1 not as in the lock file"),
        "{said:?}"
    );
    let report: Value = serde_json::from_str(&read(&scene, "r.json")).unwrap();
    assert_eq!(report["images"][1]["lock"], "moved");
    assert_eq!(report["images"][1]["lockedDigest"], other);
    let sarif: Value = serde_json::from_str(&read(&scene, "r.sarif")).unwrap();
    super::formats::is_valid_sarif(&sarif);
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "tag_moved");
    assert!(read(&scene, "r.xml").contains("failure type=\"tag_moved\""));
    let said = lock(&scene).await;
    assert!(
        said.out.starts_with(&format!("~ REGISTRY/shop/web:1.0 {other} -> {digest}")),
        "{said:?}"
    );
    assert_eq!(scene.run(&locked).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_not_locked_and_what_is_unclear_keeps_its_entry() {
    let scene = Scene::new()
        .await
        .file("k8s/web.yaml", &deployment("web", GOOD))
        .file("k8s/old.yaml", &deployment("old", "REGISTRY/shop/web:9"))
        .file("k8s/away.yaml", &deployment("away", "127.0.0.1:1/shop/web:1"));
    let digest = format!("sha256:{}", "1".repeat(64));
    let before = format!(
        "{{\"apiVersion\": \"pullgate.dev/v1alpha1\", \"kind\": \"ImageLock\", \"images\": [\
         {{\"image\": \"127.0.0.1:1/shop/web:1\", \"digest\": \"{digest}\"}}, \
         {{\"image\": \"r.example/gone:1\", \"digest\": \"{digest}\"}}]}}"
    );
    let scene = scene.file("pullgate.lock", &before);
    let said = lock(&scene).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("not locked: k8s/old.yaml:9: image REGISTRY/shop/web:9: tag not found"),
        "{said:?}"
    );
    assert!(said.out.contains("- r.example/gone:1 "), "{said:?}");
    let written = read(&scene, "pullgate.lock");
    assert!(written.contains("127.0.0.1:1/shop/web:1") && !written.contains("web:9"), "{written}");
    // An image that works and is not in the file is not locked.
    let scene = scene.file("new.yaml", &deployment("new", "REGISTRY/multi/arm:1"));
    let said = scene.run(&["check", "-f", "new.yaml", "--locked"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(words(&said.out).contains("it is not in the lock file"), "{said:?}");
    let scene = scene.file("pullgate.lock", "{\"images\": []}");
    let said = scene.run(&["check", "-f", "new.yaml", "--locked=pullgate.lock"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("pullgate.lock is no lock file"), "{said:?}");
}

const COMMENTED: &str = "\
# The shop.
apiVersion: v1
kind: Pod
metadata: {name: shop}   # a name
spec:
  initContainers:
    - {name: first, image: 'REGISTRY/shop/web:1.0', env: [{name: A, value: REGISTRY/shop/web:1.0}]}
  containers:
    - name: web
      image:   REGISTRY/shop/web:1.0   # the web
    - name: same
      image: \"REGISTRY/shop/web:1.0\"
    - name: block
      image: >-
        REGISTRY/shop/web:1.0
";

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_put_into_files_and_all_else_stays() {
    let scene = Scene::new().await.file("k8s/pod.yaml", COMMENTED);
    let before = read(&scene, "k8s/pod.yaml");
    let look = scene.run(&["pin", "-f", "k8s"]).await;
    assert_eq!(read(&scene, "k8s/pod.yaml"), before, "nothing is changed unasked");
    assert!(look.err.contains("4 images would be pinned"), "{look:?}");

    let said = scene.run(&["pin", "-f", "k8s", "--write"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("k8s/pod.yaml:10: REGISTRY/shop/web:1.0 -> REGISTRY/shop/web:1.0@"));
    let digest = said.out.split('@').nth(1).unwrap().lines().next().unwrap().to_owned();
    let pinned = |text: &str| text.replace("web:1.0", &format!("web:1.0@{digest}"));
    let expected: String = before
        .split_inclusive('\n')
        .enumerate()
        .map(|(at, line)| match at {
            // The value of a variable is no image.
            6 => line.replacen("web:1.0'", &format!("web:1.0@{digest}'"), 1),
            9 | 11 | 14 => pinned(line),
            _ => line.to_owned(),
        })
        .collect();
    assert_eq!(read(&scene, "k8s/pod.yaml"), expected);
    assert_eq!(scene.run(&["check", "-f", "k8s"]).await.code, 0);
    // What an alias repeats stands where the anchor is.
    let alias = deployment("web", "&web REGISTRY/shop/web:1.0")
        + "      - name: other\n        image: *web\n";
    let scene = scene.file("alias.yaml", &alias);
    let said = scene.run(&["pin", "-f", "alias.yaml", "--write"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("alias.yaml:11: REGISTRY/shop/web:1.0 does not stand here"),
        "{said:?}"
    );
    assert!(read(&scene, "alias.yaml").contains("/shop/web:1.0@sha256:"));
    // What is pinned stays as it is.
    let again = scene.run(&["pin", "-f", "k8s", "--write"]).await;
    assert!(again.err.contains("nothing to pin"), "{again:?}");
    assert_eq!(read(&scene, "k8s/pod.yaml"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_lists_are_pinned_too_and_what_fails_is_not() {
    let json = "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"},\n  \
                \"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"REGISTRY/shop/web:1.0\"}]}}\n";
    let scene = Scene::new()
        .await
        .file("pod.json", json)
        .file("images.txt", "# ours\nREGISTRY/shop/web:1.0 # web\n")
        .file("old.yaml", &deployment("old", "REGISTRY/shop/web:9"));
    let old = read(&scene, "old.yaml");
    let said = scene
        .run(&["pin", "-f", "pod.json", "old.yaml", "--images-from", "images.txt", "--write"])
        .await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("not pinned: old.yaml:9: image REGISTRY/shop/web:9"), "{said:?}");
    assert!(said.err.contains("pinned 2 images"), "{said:?}");
    assert!(read(&scene, "pod.json").contains("web:1.0@sha256:"));
    assert!(read(&scene, "images.txt").starts_with("# ours\n"));
    assert!(read(&scene, "images.txt").contains("web:1.0@sha256:"));
    assert_eq!(read(&scene, "old.yaml"), old);
    for arguments in [&["pin", "-f", "-"][..], &["pin", "--image", GOOD]] {
        let said = scene.run(arguments).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("images are pinned in files"), "{said:?}");
    }
}

/// A file that others may read stays one, and a link stays a link.
#[tokio::test(flavor = "multi_thread")]
async fn rights_and_links_stay() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let scene = Scene::new().await.file("real.yaml", &deployment("web", GOOD));
    let real = scene.path().join("real.yaml");
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real.yaml", scene.path().join("link.yaml")).unwrap();
    let said = scene.run(&["pin", "-f", "link.yaml", "--write"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(scene.path().join("link.yaml").is_symlink());
    assert!(read(&scene, "real.yaml").contains("@sha256:"));
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(scene.path()).unwrap().count(), 2, "nothing is left behind");
}
