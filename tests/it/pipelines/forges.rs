//! What forges themselves say of these files: their linter and their published schemas.

use serde_json::Value;

use super::{blocks, document, said, text};
use crate::check::schema::faults;

fn schema(name: &str) -> Value {
    serde_json::from_str(&text(&format!("tests/fixtures/{name}-schema.json"))).unwrap()
}

#[test]
fn the_action_is_as_its_published_schema_wants_it() {
    let schema = schema("github-action");
    assert_eq!(faults(&schema, &document("action.yml")), Vec::<String>::new());
    for (right, wrong, word) in [
        ("shell: bash", "shel: bash", "shel"),
        ("using: composite", "using: compozite", "compozite"),
        ("icon: check-circle", "icon: tick", "tick"),
        ("description: Says", "describe: Says", "required"),
    ] {
        let action: Value =
            serde_saphyr::from_str(&text("action.yml").replace(right, wrong)).unwrap();
        let found = faults(&schema, &action).join("; ");
        assert!(found.contains(word), "{wrong}: {found}");
    }
}

#[test]
fn the_gitlab_template_is_as_gitlabs_schema_wants_it() {
    let schema = schema("gitlab-ci");
    let template = text("deploy/pipelines/gitlab-ci.yml");
    let page = text("docs/pipelines.md");
    let recipe = blocks(&page, "yaml").remove(2);
    for file in [&template, &recipe] {
        let file: Value = serde_saphyr::from_str(file).unwrap();
        assert_eq!(faults(&schema, &file), Vec::<String>::new());
    }
    for (right, wrong) in [
        ("junit: pullgate.xml", "junit: {path: pullgate.xml}"),
        ("codequality: gl", "codequalitee: gl"),
        ("when: always", "when: often"),
        ("  script:", "  scripts:"),
        ("  image: alpine:3", "  image: [alpine]"),
    ] {
        assert!(template.contains(right), "{right}");
        let file: Value = serde_saphyr::from_str(&template.replace(right, wrong)).unwrap();
        assert_ne!(faults(&schema, &file), Vec::<String>::new(), "{wrong}");
    }
}

/// The action as a workflow of its users has it, and that workflow, under the forge's own linter as
/// far as there is one: actionlint reads the action that a step uses.
#[test]
fn the_action_and_its_recipe_pass_the_linter() {
    let programs = match crate::cluster::programs() {
        Ok(programs) => programs,
        Err(reason) => return crate::cluster::skipped(&reason),
    };
    let page = text("docs/pipelines.md");
    let recipe = blocks(&page, "yaml").remove(0);
    let used = format!("pullgate/pullgate@v{}", env!("CARGO_PKG_VERSION"));
    assert!(recipe.contains(&used));
    let lint = |recipe: &str, action: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(".github/workflows")).unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        let workflow = recipe.replace(&used, "./");
        std::fs::write(folder.path().join(".github/workflows/images.yml"), workflow).unwrap();
        std::fs::write(folder.path().join("action.yml"), action).unwrap();
        let output = std::process::Command::new(programs.join("actionlint"))
            .args(["-no-color", "-oneline"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.success(), said(&output))
    };
    let action = text("action.yml");
    let (fine, words) = lint(&recipe, &action);
    assert!(fine, "{words}");
    // It would say so if an input or the form of the action were wrong.
    let (fine, words) = lint(&recipe.replace("files:", "filez:"), &action);
    assert!(!fine && words.contains("input \"filez\" is not defined"), "{words}");
    let (fine, words) = lint(&recipe, &action.replace("using: composite", "using: compozite"));
    assert!(!fine && words.contains("invalid runner name"), "{words}");
}
