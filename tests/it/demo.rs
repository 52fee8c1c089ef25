//! `make demo`: plays the scenes for a person. What kubectl answers is shown as it is; a scene
//! that does not answer as promised is pointed out, and the exit status says so.
//!
//! Shares the harness of the cluster tests. It starts everything itself, on loopback, and ends it
//! again, after Ctrl-C as well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for a person at a terminal, made of test helpers"
)]

#[allow(dead_code, reason = "the demo uses a part of the harness")]
mod cluster;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use cluster::process::dismiss_guard;
use cluster::scenes::{SCENES, Step, as_shown};
use cluster::stage::Stage;

fn main() -> ExitCode {
    let started = Instant::now();
    cluster::end_on_signal();
    let code = play(started);
    dismiss_guard();
    code
}

fn play(started: Instant) -> ExitCode {
    let folder = match cluster::programs() {
        Ok(folder) => folder,
        Err(reason) => {
            eprintln!("{reason}\nUse `make demo`.");
            return ExitCode::from(2);
        }
    };
    let say = |what: &str| println!("{:5.1} s  {what}", started.elapsed().as_secs_f32());
    let stage = match Stage::build(&folder, &say) {
        Ok(stage) => stage,
        Err(reason) => {
            eprintln!("the stage could not be built: {reason}");
            return ExitCode::from(2);
        }
    };
    say("ready");
    let mut broken = 0;
    for (number, scene) in (1..).zip(SCENES) {
        println!("\n{}", bold(&format!("{number}. {}", scene.sentence)));
        for step in scene.steps {
            show_images(&stage, step);
            println!("$ {}", step.command);
            let (answer, judged) = step.play(&stage);
            print!("{}", as_shown(&answer));
            println!("{}", faint(&format!("(exit status {})", answer.code)));
            if let Err(wrong) = judged {
                broken += 1;
                println!("NOT AS PROMISED: {wrong}");
            }
        }
    }
    drop(stage);
    let took = started.elapsed().as_secs_f32();
    println!("\n{} scenes in {took:.0} s; everything that was started has ended.", SCENES.len());
    if broken == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{broken} commands did not answer as promised.");
    ExitCode::FAILURE
}

/// The lines of the command's files that name an image, so that nobody has to open them.
fn show_images(stage: &Stage, step: &Step) {
    for file in step.command.split_whitespace() {
        // Words that are no files of the stage cannot be read, and say nothing.
        let text = std::fs::read_to_string(stage.file(file)).unwrap_or_default();
        for line in text.lines().filter(|line| line.contains("image: ")) {
            println!("{}", faint(&format!("# {file}: {}", line.trim())));
        }
    }
}

fn bold(text: &str) -> String {
    styled("1", text)
}

fn faint(text: &str) -> String {
    styled("2", text)
}

fn styled(style: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() {
        format!("\u{1b}[{style}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
