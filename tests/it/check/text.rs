//! The report for people, and exit codes.

use super::run::{Scene, deployment};

#[tokio::test(flavor = "multi_thread")]
async fn problems_are_told_and_the_rest_is_counted() {
    let two = "apiVersion: v1\nkind: Pod\nmetadata: {name: two}\nspec:\n  initContainers:\n  - \
               {name: i, image: 'REGISTRY/shop/web:9'}\n  containers:\n  - {name: a, image: \
               'REGISTRY/shop/web:1.0'}\n  - {name: b, image: 'REGISTRY/UPPER'}\n";
    let scene = Scene::new()
        .await
        .file("all/good.yaml", &deployment("good", "REGISTRY/shop/web:1.0"))
        .file("all/missing.yaml", &deployment("missing", "REGISTRY/shop/web:9"))
        .file("all/two.yaml", two);
    let said = scene.run(&["check", "-f", "all"]).await;
    insta::assert_snapshot!(said.out, @r#"
    Deployment shop/missing (all/missing.yaml)
      FAILS       container web  line 9  tag_not_found
              REGISTRY/shop/web:9
              tag not found in the registry — checked without credentials; may still work if nodes
              have a mirror, their own credentials, the image or another network

    Pod default/two (all/two.yaml)
      FAILS       init container i  line 6  tag_not_found
              REGISTRY/shop/web:9
              tag not found in the registry — checked without credentials; may still work if nodes
              have a mirror, their own credentials, the image or another network
      FAILS       container b  line 9  invalid_reference
              REGISTRY/UPPER
              invalid name (uppercase letter in "UPPER")

    5 images in 3 objects: 2 work, 3 fail, 0 cannot tell
    "#);
    assert_eq!((said.code, &*said.err), (1, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_is_one_line() {
    let scene = Scene::new().await;
    let good = deployment("good", "REGISTRY/shop/web:1.0");
    let said = scene.run_with(&["check", "-f", "-"], &good).await;
    assert_eq!(said.out, "1 image in 1 object: 1 works, 0 fail, 0 cannot tell\n");
    assert_eq!((said.code, &*said.err), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_what_was_asked_for() {
    let unreachable = deployment("unreachable", "127.0.0.1:1/shop/web:1.0");
    let scene = Scene::new()
        .await
        .file("missing.yaml", &deployment("missing", "REGISTRY/shop/web:9"))
        .file("unreachable.yaml", &unreachable);
    for (file, on, code) in [
        ("missing.yaml", "deny", 0),
        ("missing.yaml", "fails", 1),
        ("unreachable.yaml", "fails", 0),
        ("unreachable.yaml", "cannot-tell", 1),
    ] {
        let said = scene.run(&["check", "-f", file, "--fail-on", on]).await;
        assert_eq!(said.code, code, "{file} {on}: {said:?}");
    }
}

const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {name: p}\n\
    spec:\n  nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_vouches_denies_where_it_is_enforced() {
    let enforced = "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: \
                    {pullgate.dev/mode: enforce}\n";
    let missing = deployment("missing", "REGISTRY/shop/web:9");
    let scene = Scene::new()
        .await
        .file("policy.yaml", POLICY)
        .file("missing.yaml", &missing)
        .file("enforced.yaml", &format!("{missing}{enforced}"))
        .file("off.yaml", &format!("{missing}{enforced}").replace("enforce}", "off}"));
    let check = ["check", "--policy=policy.yaml", "--fail-on=deny", "-f"];
    for (file, more, code) in [
        ("missing.yaml", "-n=x", 0),
        ("missing.yaml", "--as-enforced", 1),
        ("enforced.yaml", "-n=x", 1),
        ("off.yaml", "-n=x", 0),
    ] {
        let said = scene.run(&[&check[..], &[file, more]].concat()).await;
        assert_eq!(said.code, code, "{file} {more}: {said:?}");
        assert_eq!(said.out.contains("would be denied"), code == 1, "{}", said.out);
        assert!(said.out.contains("1 fails"), "{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_counts_until_it_expires() {
    let day = |days: i64| {
        let day = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        day.strftime("%Y-%m-%d").to_string()
    };
    let policy = |expires: &str| {
        format!(
            "{POLICY}  exceptions:\n  - name: legacy\n    owner: team-shop\n    reason: TICKET-42\n    \
             expires: {expires}\n    match: {{images: ['**/shop/**']}}\n"
        )
    };
    let scene = Scene::new()
        .await
        .file("missing.yaml", &deployment("missing", "REGISTRY/shop/web:9"))
        .file("far.yaml", &policy(&day(300)))
        .file("soon.yaml", &policy(&day(2)))
        .file("past.yaml", &policy(&day(-2)));
    for (policy, code, words) in [
        ("far.yaml", 0, "let through until"),
        ("soon.yaml", 0, "let through until"),
        ("past.yaml", 1, "exception legacy of team-shop ended on"),
    ] {
        let check = ["check", "--as-enforced", "--fail-on=deny", "-f=missing.yaml", "--policy"];
        let said = scene.run(&[&check[..], &[policy]].concat()).await;
        assert_eq!(said.code, code, "{policy}: {said:?}");
        let told = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(words), "{policy}: {}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_are_compared_where_they_are_given() {
    let scene = Scene::new().await.file("arm.yaml", &deployment("arm", "REGISTRY/multi/arm:1"));
    for (platform, code) in [(None, 0), (Some("linux/arm64"), 0), (Some("linux/amd64"), 1)] {
        let mut arguments = vec!["check", "-f", "arm.yaml", "--runtime=containerd://2.1"];
        arguments.extend(platform.iter().flat_map(|platform| ["--platform", platform]));
        let said = scene.run(&arguments).await;
        assert_eq!(said.code, code, "{platform:?} {said:?}");
        assert_eq!(said.out.contains("platform_mismatch"), code == 1, "{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_says_what_it_is_built_from_and_for() {
    let said = Scene::new().await.run(&["version"]).await;
    let keys: Vec<&str> = said.out.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(keys, ["pullgate", "commit", "platform", "features"], "{}", said.out);
    assert!(said.out.contains(env!("CARGO_PKG_VERSION")), "{}", said.out);
    assert!(!said.out.contains("x86_64"), "as image platforms are named: {}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_own_localhost_lacks_fails_nothing() {
    let scene = Scene::new().await;
    let image = format!("localhost:{}/shop/web:9", scene.registry.port());
    let unnamed = scene.run(&["check", "--allow-address", "10.0.0.0/8", "--image", &image]).await;
    assert_eq!(unnamed.code, 0, "{}", unnamed.out);
    assert!(unnamed.out.contains("(--allow-address 127.0.0.0/8"), "{}", unnamed.out);
    let named = scene.run(&["check", "--image", &image]).await;
    assert_eq!((named.code, named.out.contains("FAILS")), (1, true), "{}", named.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reading_is_no_error() {
    let scene = Scene::new().await.file("a.yaml", &deployment("a", "REGISTRY/shop/web:9"));
    for format in ["text", "json", "sarif", "junit", "github", "gitlab", "markdown"] {
        let command = format!(
            "'{}' check -f a.yaml -o {format} | head -c 0; exit ${{PIPESTATUS[0]}}",
            env!("CARGO_BIN_EXE_pullgate")
        );
        let output = tokio::process::Command::new("bash")
            .args(["-c", &command])
            .current_dir(scene.path())
            .env("DOCKER_CONFIG", scene.path())
            .env("PULLGATE_ALLOW_ADDRESS", "127.0.0.0/8")
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format}");
    }
}
