//! The scripts of the action and the template, as a runner runs them, with every input.

use std::process::Output;

use serde_json::Value;

use crate::check::credentials::own_login;

use super::{BASH, Scene, deployment, document, said, scene, shell, text};

/// The script of the action; inputs have their defaults unless they are given.
async fn action(scene: &Scene, given: &[(&str, &str)]) -> Output {
    let action = document("action.yml");
    let step = &action["runs"]["steps"][0];
    let mut variables = vec![("GITHUB_STEP_SUMMARY", "summary"), ("GITHUB_OUTPUT", "output")];
    for (name, value) in step["env"].as_object().unwrap() {
        let input = value.as_str().unwrap().trim_matches(|c| "${ }".contains(c));
        let input = input.strip_prefix("inputs.").unwrap();
        variables.push((name, action["inputs"][input]["default"].as_str().unwrap()));
    }
    let known = variables.len();
    variables.extend(given);
    for (name, _) in given {
        assert!(variables[..known].iter().any(|(known, _)| known == name), "{name} is no input");
    }
    shell(scene, BASH, step["run"].as_str().unwrap(), &variables).await
}

/// The job of the template; its variables have their defaults unless they are given.
async fn job(scene: &Scene, given: &[(&str, &str)]) -> Output {
    let file = document("deploy/pipelines/gitlab-ci.yml");
    let job = &file["pullgate"];
    let lines = |key: &str| {
        let lines = job[key].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        lines.collect::<Vec<_>>().join("\n")
    };
    let variables = job["variables"].as_object().unwrap().iter();
    let mut variables: Vec<_> =
        variables.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    let known = variables.len();
    variables.extend(given);
    for (name, _) in given {
        assert!(variables[..known].iter().any(|(known, _)| known == name), "{name} is no variable");
    }
    let script = format!("{}\n{}", lines("before_script"), lines("script"));
    shell(scene, &["sh", "-e", "-c"], &script, &variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_the_action_reports_and_fails_as_it_should() {
    for (tag, render, images, code) in [
        ("1.0", "", "", 0),
        ("9", "", "", 1),
        ("9", "helm template chart", "", 1),
        ("1.0", "", "images/images.txt", 0),
    ] {
        let scene = scene(tag).await;
        let given = [("FILES", "k8s\n"), ("RENDER", render), ("IMAGES_FROM", images)];
        let output = action(&scene, &given).await;
        assert_eq!(output.status.code(), Some(code), "{tag} {render}: {}", said(&output));
        let read = |name: &str| std::fs::read_to_string(scene.path().join(name)).unwrap();
        assert_eq!(read("output"), format!("exit-code={code}\n"));
        assert!(read("summary").starts_with("### Pullgate: "), "{}", read("summary"));
        let report: Value = serde_json::from_str(&read("pullgate.sarif")).unwrap();
        crate::check::formats::is_valid_sarif(&report);
        assert_eq!(said(&output).contains("::error file="), code == 1, "{}", said(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gitlab_template_leaves_the_reports_that_it_promises() {
    let file = document("deploy/pipelines/gitlab-ci.yml");
    for (tag, render, code) in [("1.0", "", 0), ("9", "", 1), ("9", "helm template chart", 1)] {
        let scene = scene(tag).await;
        let files = if render.is_empty() { "k8s k8s/web.yaml" } else { "k8s images" };
        let given = [("PULLGATE_FILES", files), ("PULLGATE_RENDER", render)];
        let output = job(&scene, &given).await;
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        let reports = file["pullgate"]["artifacts"]["reports"].as_object().unwrap();
        for report in reports.values() {
            let report =
                std::fs::read_to_string(scene.path().join(report.as_str().unwrap())).unwrap();
            assert_eq!(report.contains("tag_not_found"), code == 1, "{report}");
        }
    }
    // A job that has nothing to run says so before it says anything else.
    let scene = scene("1.0").await;
    std::fs::remove_file(scene.path().join("bin/pullgate")).unwrap();
    let output = job(&scene, &[]).await;
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("set PULLGATE_URL"), "{}", said(&output));
}

/// A scene with a baseline, a lock file in which the tag has moved since, a policy with an exception,
/// a pull secret as a file, and an image that only a login proves missing.
async fn prepared() -> Scene {
    let scene = scene("9").await;
    let baseline = ["check", "-f", "k8s", "--baseline", "known.json", "--write-baseline"];
    let written = scene.run(&baseline).await;
    assert_eq!(written.code, 0, "{written:?}");
    let private = deployment("app", "REGISTRY/team/app:2.0");
    let policy = "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\n\
        metadata: {name: default}\nspec:\n  exceptions:\n  - {name: old, owner: team, \
        reason: is old, expires: 2999-01-01, match: {images: [\"**\"]}}\n";
    let scene = scene
        .file("private/app.yaml", &private)
        .file("moved/web.yaml", &deployment("web", "REGISTRY/shop/web:1.0"))
        .file("policy.yaml", policy)
        .file("secret.json", &own_login());
    let locked = scene.run(&["lock", "-f", "moved"]).await;
    assert_eq!(locked.code, 0, "{locked:?}");
    let path = scene.path().join("pullgate.lock");
    let lock = std::fs::read_to_string(&path).unwrap();
    let (before, after) = lock.split_once("sha256:").unwrap();
    std::fs::write(path, format!("{before}sha256:{}{}", "0".repeat(64), &after[64..])).unwrap();
    scene
}

/// Each input changes what the check says, in the action and in the job.
#[tokio::test(flavor = "multi_thread")]
async fn every_input_reaches_the_check() {
    for (files, input, value, [without, with]) in [
        ("k8s", "BASELINE", "known.json", [1, 0]),
        ("k8s", "POLICY", "policy.yaml", [1, 0]),
        ("k8s", "FAIL_ON", "deny", [1, 0]),
        ("moved", "LOCKED", "pullgate.lock", [0, 1]),
        // The job's own login proves the tag missing; a check by pull secrets alone does not ask it.
        ("private", "LOGIN", "secrets", [1, 0]),
    ] {
        let scene = prepared().await;
        let variable = format!("PULLGATE_{input}");
        for (given, code) in [("", without), (value, with)] {
            let mut for_action = vec![("FILES", files)];
            let mut for_job = vec![("PULLGATE_FILES", files)];
            if !given.is_empty() {
                for_action.push((input, given));
                for_job.push((&variable, given));
            }
            for output in [action(&scene, &for_action).await, job(&scene, &for_job).await] {
                assert_eq!(output.status.code(), Some(code), "{input}={given}: {}", said(&output));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_secret_is_given_as_a_file() {
    let scene = prepared().await;
    let files = [("FILES", "private"), ("LOGIN", "secrets")];
    let output =
        action(&scene, &[&files[..], &[("PULL_SECRET_FILE", "secret.json")]].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let files = [("PULLGATE_FILES", "private"), ("PULLGATE_LOGIN", "secrets")];
    let given = [("PULLGATE_PULL_SECRET_FILE", "secret.json")];
    let output = job(&scene, &[&files[..], &given].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

#[test]
fn the_page_shows_what_can_be_given() {
    let page = text("docs/pipelines.md");
    for input in ["baseline", "locked", "login"] {
        let variable = format!("`PULLGATE_{}`", input.to_uppercase());
        assert!(page.contains(&format!("`{input}`")) && page.contains(&variable), "{input}");
    }
}
