//! What pipelines take from this repository, run as far as it can be without a forge: the scripts of
//! the action and the template, the arguments of tasks, jobs and hooks, every command of the page.

mod forges;
mod inputs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::check::run::{Scene, deployment};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap()
}

fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap()
}

fn document(path: &str) -> Value {
    documents(path).remove(0)
}

/// Manifests, a chart and a kustomization with the programs that render them, and a list.
async fn scene(tag: &str) -> Scene {
    let manifest = deployment("web", &format!("REGISTRY/shop/web:{tag}"));
    let scene = Scene::new()
        .await
        .file("k8s/web.yaml", &manifest)
        .file("chart/Chart.yaml", "name: chart\n")
        .file("overlays/prod/kustomization.yaml", "resources: [../../k8s/web.yaml]\n")
        .file("images/images.txt", &format!("REGISTRY/shop/web:{tag}\n"))
        .file("config.json", "{\"auths\": {\"REGISTRY\": {\"auth\": \"cm9ib3Q6aGlkZGVuLXdvcmQ=\"}}}")
        .file("bin/helm", "#!/bin/sh\n[ \"$1\" = template ] && [ -f \"$2/Chart.yaml\" ] && cat k8s/web.yaml\n")
        .file(
            "bin/kubectl",
            "#!/bin/sh\n[ \"$1\" = kustomize ] && [ -f \"$2/kustomization.yaml\" ] && cat k8s/web.yaml\n",
        );
    for program in ["helm", "kubectl"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(scene.path().join("bin").join(program), mode).unwrap();
    }
    let program = env!("CARGO_BIN_EXE_pullgate");
    std::os::unix::fs::symlink(program, scene.path().join("bin/pullgate")).unwrap();
    scene
}

async fn shell(scene: &Scene, shell: &[&str], script: &str, variables: &[(&str, &str)]) -> Output {
    tokio::process::Command::new(shell[0])
        .args(&shell[1..])
        .arg(script)
        .current_dir(scene.path())
        .env_clear()
        .env("PATH", format!("{}/bin:/usr/bin:/bin", scene.path().display()))
        .env("HOME", scene.path())
        .env("DOCKER_CONFIG", scene.path())
        .env("NO_PROXY", "127.0.0.1")
        .env("PULLGATE_ALLOW_ADDRESS", "127.0.0.0/8")
        .envs(variables.iter().copied())
        .output()
        .await
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// As the runner runs it.
const BASH: &[&str] = &["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"];

#[test]
fn the_action_is_whole_and_no_input_becomes_code() {
    let action = document("action.yml");
    let all = text("action.yml");
    assert_eq!(action["runs"]["using"], "composite");
    for key in ["name", "description"] {
        assert!(action[key].is_string(), "{key}");
    }
    for (name, input) in action["inputs"].as_object().unwrap() {
        assert!(
            input["description"].is_string() && input["default"].is_string(),
            "{name}: {input}"
        );
        assert!(all.contains(&format!("inputs.{name}")), "{name} is used by nothing");
    }
    for step in action["runs"]["steps"].as_array().unwrap() {
        if let Some(run) = step["run"].as_str() {
            assert!(step["shell"].is_string(), "a composite action needs a shell: {step}");
            assert!(!run.contains("${{"), "an input within a script is code");
        }
    }
}

/// The arguments of a container, as they are for a run.
fn arguments(container: &Value, replaced: &[(&str, &str)]) -> Vec<String> {
    let arguments = container["args"].as_array().unwrap().iter().map(|one| one.as_str().unwrap());
    arguments
        .map(|one| replaced.iter().fold(one.to_owned(), |one, (from, to)| one.replace(from, to)))
        .collect()
}

async fn run(scene: &Scene, arguments: &[String]) -> i32 {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    scene.run(&arguments).await.code
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_of_tekton_runs() {
    let task = document("deploy/pipelines/tekton-task.yaml");
    let step = &task["spec"]["steps"][0];
    let shown = step.to_string();
    for name in task["spec"]["params"].as_array().unwrap() {
        assert!(shown.contains(&format!("$(params.{}", name["name"].as_str().unwrap())), "{name}");
    }
    // As Tekton fills in an array: each of its words is an argument, and none of an empty one.
    let mut arguments =
        arguments(step, &[("$(params.fail-on)", "fails"), ("$(params.files[*])", "k8s")]);
    arguments.retain(|one| one != "$(params.arguments[*])");
    for (tag, code) in [("1.0", 0), ("9", 1)] {
        let scene = scene(tag).await;
        assert_eq!(run(&scene, &arguments).await, code);
        assert!(scene.path().join("pullgate.xml").is_file());
    }
    // What we read of Tekton we find in it, too.
    let scene = scene("1.0").await;
    let task = root("deploy/pipelines/tekton-task.yaml");
    let said = scene.run(&["check", "-f", task.to_str().unwrap(), "--timeout=1s"]).await;
    assert!(said.out.contains("1 image in 1 object"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hook_of_argo_cd_runs_before_a_sync() {
    let objects = documents("deploy/pipelines/argocd-presync.yaml");
    for object in &objects {
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["argocd.argoproj.io/hook"], "PreSync", "{object}");
    }
    let job = &objects[1];
    let pod = &job["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let mounts: BTreeSet<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].to_string())
        .collect();
    let volumes: BTreeSet<_> =
        pod["volumes"].as_array().unwrap().iter().map(|one| one["name"].to_string()).collect();
    assert_eq!(mounts, volumes);
    assert_eq!(pod["volumes"][0]["configMap"]["name"], objects[0]["metadata"]["name"]);
    assert!(objects[0]["data"]["images.txt"].is_string());
    let arguments = arguments(container, &[("/images/", "images/")]);
    for (tag, code) in [("1.0", 0), ("9", 1)] {
        assert_eq!(run(&scene(tag).await, &arguments).await, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hooks_of_pre_commit_run() {
    let hooks = document(".pre-commit-hooks.yaml");
    for hook in hooks.as_array().unwrap() {
        for key in ["id", "name", "description", "entry", "language", "files"] {
            assert!(hook[key].is_string(), "{key}: {hook}");
        }
        let entry = hook["entry"].as_str().unwrap().strip_prefix("pullgate ").unwrap();
        let mut arguments = vec![entry.to_owned()];
        arguments.extend(self::arguments(hook, &[(".", "k8s")]));
        for (tag, code) in [("1.0", 0), ("9", 1)] {
            assert_eq!(run(&scene(tag).await, &arguments).await, code, "{hook}");
        }
    }
}

/// Every fenced block of this language on the page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    let blocks = page.split(&start).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_runs_word_for_word() {
    let page = text("docs/pipelines.md");
    let blocks = blocks(&page, "sh");
    assert!(blocks.len() >= 4);
    for block in blocks {
        let scene = scene("1.0").await;
        let output = shell(&scene, BASH, &block, &[]).await;
        assert!(output.status.success(), "{block}: {}", said(&output));
    }
    let in_table =
        page.lines().filter(|line| line.starts_with("| a") || line.starts_with("| manifests"));
    let commands: Vec<_> =
        in_table.map(|line| line.split('`').nth(1).unwrap().replace("\\|", "|")).collect();
    assert_eq!(commands.len(), 4);
    for command in commands {
        let scene = scene("9").await.file("images.txt", "REGISTRY/shop/web:9\n");
        let output = shell(&scene, BASH, &command, &[]).await;
        assert_eq!(output.status.code(), Some(1), "{command}: {}", said(&output));
    }
}

#[test]
fn every_recipe_names_what_is_there() {
    let page = text("docs/pipelines.md");
    assert_eq!(page.matches("\n## Recipe ").count(), 5);
    let recipes: Vec<Value> =
        blocks(&page, "yaml").iter().map(|block| serde_saphyr::from_str(block).unwrap()).collect();
    let [github, more, gitlab, tekton, pre_commit] = &recipes[..] else { panic!("{recipes:#?}") };
    let inputs = &document("action.yml")["inputs"];
    for with in [&github["jobs"]["pullgate"]["steps"][1]["with"], &more[0]["with"]] {
        assert!(with.as_object().unwrap().keys().all(|key| inputs[key].is_object()), "{with}");
    }
    let variables = &document("deploy/pipelines/gitlab-ci.yml")["pullgate"]["variables"];
    let given = gitlab["variables"].as_object().unwrap();
    assert!(given.keys().all(|key| variables[key].is_string()), "{given:?}");
    assert!(root(gitlab["include"][0]["file"].as_str().unwrap()).is_file());
    let task = document("deploy/pipelines/tekton-task.yaml");
    assert_eq!(tekton["spec"]["tasks"][0]["taskRef"]["name"], task["metadata"]["name"]);
    let hook = &pre_commit["repos"][0]["hooks"][0]["id"];
    assert!(
        document(".pre-commit-hooks.yaml").as_array().unwrap().iter().any(|one| one["id"] == *hook)
    );
}

/// Pipelines run the release that they are from.
#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, words) in [
        ("action.yml", "ghcr.io/pullgate/pullgate:"),
        ("deploy/pipelines/tekton-task.yaml", "ghcr.io/pullgate/pullgate:"),
        ("deploy/pipelines/argocd-presync.yaml", "ghcr.io/pullgate/pullgate:"),
        ("docs/pipelines.md", "pullgate/pullgate@v"),
        ("docs/pipelines.md", "rev: v"),
    ] {
        assert!(text(file).contains(&format!("{words}{version}")), "{file}");
    }
}
