//! The scenes, told once: the demo shows them, the tests hold Pullgate to them.
//!
//! A scene is a sentence and a few commands with what they must answer. Nothing in it is faked:
//! the commands are run as they are written, and the output is kubectl's own.

use std::fmt::Write as _;

use super::process::Finished;
use super::stage::Stage;

/// A command and what it must answer.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What is typed.
    pub command: &'static str,
    /// Its exit status.
    pub code: i32,
    /// What must stand somewhere on standard output.
    pub stdout: &'static [&'static str],
    /// What must stand somewhere on standard error; if nothing is named, it must be empty.
    pub stderr: &'static [&'static str],
}

/// A few commands that show one thing.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// The name of its test.
    pub name: &'static str,
    /// What is about to be seen, in a sentence.
    pub sentence: &'static str,
    /// What is typed, in order.
    pub steps: &'static [Step],
}

/// All scenes, in the order of the demo. None needs an earlier one.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "a_good_deployment_is_silent",
        sentence: "A Deployment whose image is there: not a word.",
        steps: &[Step {
            command: "kubectl apply -f good.yaml",
            code: 0,
            stdout: &["deployment.apps/storefront created"],
            stderr: &[],
        }],
    },
    Scene {
        name: "a_missing_tag_is_warned_of_and_the_running_tag_is_named",
        sentence: "A Deployment with a tag that does not exist: a warning, and the tag that runs here.",
        steps: &[Step {
            command: "kubectl apply -f missing-tag.yaml",
            code: 0,
            stdout: &["deployment.apps/cart created"],
            stderr: &["Warning: ", "{open}/shop/app:1.2.4", "1.2.2"],
        }],
    },
    Scene {
        name: "a_pipeline_gets_an_exit_code_from_kubectl",
        sentence: "The same tag in a pipeline: nothing is created, and kubectl can be made to fail on warnings.",
        steps: &[
            Step {
                command: "kubectl apply --dry-run=server -f pipeline.yaml",
                code: 0,
                stdout: &["(server dry run)"],
                stderr: &["Warning: ", "{open}/shop/app:1.2.4", "1.2.2"],
            },
            Step {
                command: "kubectl apply --dry-run=server --warnings-as-errors -f pipeline.yaml",
                code: 1,
                stdout: &["(server dry run)"],
                stderr: &["Warning: ", "{open}/shop/app:1.2.4", "error: 1 warning received"],
            },
        ],
    },
    Scene {
        name: "a_pod_that_cannot_pull_is_denied_where_the_policy_vouches_for_the_nodes",
        sentence: "A Pod with the same tag, in a namespace that enforces; the policy vouches for the nodes.",
        steps: &[
            Step {
                command: "kubectl create -n shop-strict -f pod-missing.yaml",
                code: 1,
                stdout: &[],
                stderr: &[
                    "Error from server (Forbidden)",
                    "denied the request",
                    "{open}/shop/app:1.2.4",
                ],
            },
            Step {
                command: "kubectl create -n shop-strict -f pod-good.yaml",
                code: 0,
                stdout: &["pod/migrate-good created"],
                stderr: &[],
            },
        ],
    },
    Scene {
        name: "without_vouching_the_same_pod_is_only_warned_of",
        sentence: "The same Pod where nobody vouches for the nodes: a node might have a mirror, so it is let in.",
        steps: &[Step {
            command: "kubectl create -n shop-open -f pod-missing.yaml",
            code: 0,
            stdout: &["pod/migrate-missing created"],
            stderr: &["Warning: ", "{open}/shop/app:1.2.4", "mirror"],
        }],
    },
    Scene {
        name: "a_private_image_without_a_secret_names_the_one_that_works",
        sentence: "A private image without a pull secret: the one that works here was tried, and is named.",
        steps: &[Step {
            command: "kubectl apply -f private.yaml",
            code: 0,
            stdout: &["deployment.apps/billing created"],
            stderr: &["Warning: ", "{private}/shop/billing:3.1.0", "registry-login"],
        }],
    },
    Scene {
        name: "a_private_image_with_its_secret_is_silent",
        sentence: "The same image with that secret: not a word.",
        steps: &[Step {
            command: "kubectl apply -f private-with-secret.yaml",
            code: 0,
            stdout: &["deployment.apps/invoices created"],
            stderr: &[],
        }],
    },
    Scene {
        name: "an_index_without_the_nodes_platform_is_warned_of",
        sentence: "An image for arm64 only; the nodes are amd64.",
        steps: &[Step {
            command: "kubectl apply -f arm64-only.yaml",
            code: 0,
            stdout: &["deployment.apps/sensors created"],
            stderr: &["Warning: ", "{open}/shop/sensors:0.9.0", "built for linux/arm64 only"],
        }],
    },
    Scene {
        name: "a_registry_that_is_down_stops_nobody",
        sentence: "A registry that is down: Pullgate cannot tell, so it lets the object in and stays silent.",
        steps: &[Step {
            command: "kubectl apply -f registry-down.yaml",
            code: 0,
            stdout: &["deployment.apps/archive created"],
            stderr: &[],
        }],
    },
    Scene {
        name: "pullgate_check_judges_the_same_files_without_a_cluster",
        sentence: "The same files before they reach any cluster: pullgate check and its exit code.",
        steps: &[
            Step {
                command: "pullgate check --allow-address 127.0.0.0/8 -f good.yaml",
                code: 0,
                stdout: &["1 image in 1 object: 1 works"],
                stderr: &[],
            },
            Step {
                command: "pullgate check --allow-address 127.0.0.0/8 -f missing-tag.yaml -f registry-down.yaml",
                code: 1,
                stdout: &["{open}/shop/app:1.2.4", "{down}/shop/archive:1.0.0"],
                stderr: &[],
            },
            Step {
                command: "pullgate check --allow-address 127.0.0.0/8 -f registry-down.yaml",
                code: 0,
                stdout: &["{down}/shop/archive:1.0.0"],
                stderr: &[],
            },
        ],
    },
];

impl Step {
    /// Types the command; what it answered, and an error if that is not what it must answer.
    pub fn play(&self, stage: &Stage) -> (Finished, Result<(), String>) {
        let words: Vec<&str> = self.command.split_whitespace().collect();
        let answer = stage.run(&words);
        let mut wrong = String::new();
        if answer.code != self.code {
            let _ = writeln!(wrong, "exit status {} instead of {}", answer.code, self.code);
        }
        for (stream, text, wanted) in [
            ("standard output", &answer.stdout, self.stdout),
            ("standard error", &answer.stderr, self.stderr),
        ] {
            for part in wanted {
                let part = stage.with_names(part);
                if !text.contains(&part) {
                    let _ = writeln!(wrong, "{stream} lacks {part}");
                }
            }
            if wanted.is_empty() && !text.is_empty() {
                let _ = writeln!(wrong, "{stream} is not empty");
            }
        }
        let judged = if wrong.is_empty() { Ok(()) } else { Err(wrong) };
        (answer, judged)
    }
}

/// The answer as a terminal shows it: kubectl writes warnings as they come, then what it did,
/// then errors.
pub fn as_shown(answer: &Finished) -> String {
    let (warnings, errors): (Vec<&str>, Vec<&str>) =
        answer.stderr.lines().partition(|line| line.starts_with("Warning:"));
    let lines = warnings.into_iter().chain(answer.stdout.lines()).chain(errors);
    lines.fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}
