//! The scenes of the demo, held against the real API server, kubectl and registries.

use std::fmt::Write as _;
use std::sync::OnceLock;

use super::process::Finished;
use super::scenes::{SCENES, as_shown};
use super::stage::Stage;
use super::{programs, skipped};

/// The stage of this process, built by the first scene.
fn stage() -> Option<&'static Stage> {
    static STAGE: OnceLock<Result<Stage, String>> = OnceLock::new();
    let folder = programs().inspect_err(|reason| skipped(reason)).ok()?;
    match STAGE.get_or_init(|| Stage::build(&folder, &|_| {})) {
        Ok(stage) => Some(stage),
        Err(reason) => panic!("the stage could not be built: {reason}"),
    }
}

/// A command as it was typed, what it answered, and whether that is what it must answer.
type Played = (&'static str, Finished, Result<(), String>);

/// What the commands of a scene answered; every scene is played once.
fn played(stage: &Stage, name: &str) -> &'static [Played] {
    static PLAYED: [OnceLock<Vec<Played>>; SCENES.len()] = [const { OnceLock::new() }; _];
    let place = SCENES.iter().position(|scene| scene.name == name).unwrap();
    PLAYED[place].get_or_init(|| {
        let steps = SCENES[place].steps.iter();
        steps
            .map(|step| {
                let (answer, judged) = step.play(stage);
                (step.command, answer, judged)
            })
            .collect()
    })
}

fn play(name: &str) {
    let Some(stage) = stage() else { return };
    for (command, answer, judged) in played(stage, name) {
        let shown = as_shown(answer);
        if let Err(wrong) = judged {
            panic!("$ {command}\n{shown}\n{wrong}");
        }
    }
}

/// The transcript in docs/demo.md is what the commands really answered. `UPDATE_DOCS=1` writes it.
#[test]
fn the_page_shows_what_the_demo_shows() {
    let Some(stage) = stage() else { return };
    let mut transcript = String::from("```console\n");
    for (number, scene) in (1..).zip(SCENES) {
        let _ = writeln!(transcript, "# {number}. {}", scene.sentence);
        for (command, answer, _) in played(stage, scene.name) {
            let _ = write!(transcript, "$ {command}\n{}", stage.as_documented(&as_shown(answer)));
            if answer.code != 0 {
                let _ = writeln!(transcript, "(exit status {})", answer.code);
            }
        }
        transcript.push('\n');
    }
    let transcript = format!("{}\n```\n", transcript.trim_end());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/demo.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- demo -->\n").unwrap();
    let (shown, after) = rest.split_once("<!-- /demo -->").unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{before}<!-- demo -->\n{transcript}<!-- /demo -->{after}");
        std::fs::write(&path, text).unwrap();
    } else {
        assert!(
            shown == transcript,
            "docs/demo.md shows something else; UPDATE_DOCS=1 writes:\n{transcript}"
        );
    }
}

macro_rules! scenes {
    ($($name:ident)*) => {
        $(#[test] fn $name() { play(stringify!($name)); })*

        #[test]
        fn every_scene_is_a_test() {
            let names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

scenes! {
    a_good_deployment_is_silent
    a_missing_tag_is_warned_of_and_the_running_tag_is_named
    a_pipeline_gets_an_exit_code_from_kubectl
    a_pod_that_cannot_pull_is_denied_where_the_policy_vouches_for_the_nodes
    without_vouching_the_same_pod_is_only_warned_of
    a_private_image_without_a_secret_names_the_one_that_works
    a_private_image_with_its_secret_is_silent
    an_index_without_the_nodes_platform_is_warned_of
    a_registry_that_is_down_stops_nobody
    pullgate_check_judges_the_same_files_without_a_cluster
}
