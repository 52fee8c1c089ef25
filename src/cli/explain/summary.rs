//! The first screen: one sentence of cause, one of remedy.

use super::ask::RegistryAnswer;
use crate::advice::{Advice, AdviceKind};
use crate::cluster::RefusedPods;
use crate::history::Report;
use crate::message::{as_sentence, containers, observed, observed_at_large, sentence};
use crate::pull::Verdict;
use crate::text::{clean, shorten};

/// The longest refusal that is repeated.
const MAX_REFUSAL: usize = 600;

/// What is wrong.
pub(super) fn cause(
    report: &Report,
    answer: Option<&RegistryAnswer>,
    refused: &[RefusedPods],
) -> String {
    if let Some(at_large) = observed_at_large(report) {
        return as_sentence(&at_large);
    }
    let nodes = report.failures.causes.first();
    let failing = report.scope.failing;
    let told = match (nodes, answer) {
        (None, _) if !refused.is_empty() => format!(
            "its pods are refused at admission ({}): {}",
            times(refused.iter().map(|one| one.times).sum()),
            refused.first().map(|one| one.message.clone()).unwrap_or_default()
        ),
        (Some(line), Some(answer)) if answer.cause == Some(line.cause) => {
            format!("{}; {} with it", answer.cause_words(), containers(failing, "fail"))
        }
        (Some(line), Some(answer)) if answer.works() => format!(
            "nodes fail to pull it ({}: {}), but the registry gives it to the same credentials now",
            containers(failing, ""),
            cause_text(line.cause)
        ),
        (Some(line), Some(answer)) => format!(
            "nodes fail to pull it ({}: {}); asked now: {}",
            containers(failing, ""),
            cause_text(line.cause),
            answer.cause_words()
        ),
        (None, Some(answer)) if answer.works() => {
            let running = report.scope.running;
            let runs = (running > 0).then(|| format!(", and {}", containers(running, "run")));
            format!("nothing is wrong: the registry has it{}", runs.unwrap_or_default())
        }
        (None, Some(answer)) => format!("{}; no container fails with it now", answer.cause_words()),
        (_, None) => observed(report),
    };
    as_sentence(&told)
}

/// What to do.
pub(super) fn remedy(
    report: &Report,
    answer: Option<&RegistryAnswer>,
    advice: &[Advice],
    broken: bool,
) -> String {
    let helps = |advice: &&Advice| {
        !matches!(
            advice.kind,
            AdviceKind::KeepsRunning | AdviceKind::RegistryService | AdviceKind::NetworkPolicy
        )
    };
    let down = advice.iter().find(|advice| {
        advice.kind == AdviceKind::RegistryService && advice.message.contains("no ready endpoints")
    });
    if let Some(advice) = down.or_else(|| advice.iter().find(helps)) {
        return as_sentence(&step_of(advice));
    }
    if let Some(step) = report.next_step() {
        return as_sentence(&step);
    }
    match (broken, answer) {
        (true, Some(answer)) if answer.cause.is_some() => {
            as_sentence("see what the registry answered below")
        }
        (true, _) => as_sentence("see below who refuses its pods, and why"),
        (false, _) => "Nothing to do.".to_owned(),
    }
}

/// What to do by an advice, where its message says only what is.
fn step_of(advice: &Advice) -> String {
    let step = match advice.kind {
        AdviceKind::RegistryService => "bring the registry's pods back",
        AdviceKind::BuildJob if advice.command.is_some() => "run the build",
        AdviceKind::FixSecret if is_a_fact(&advice.message) => "make a pull secret that works",
        _ => return advice.message.clone(),
    };
    format!("{step}: {}", advice.message)
}

/// Whether the words about a secret say what is, and not what to do.
fn is_a_fact(words: &str) -> bool {
    ["secret ", "pull secret "].iter().any(|start| words.starts_with(start))
}

/// The words of a refusal without what every refusal begins with.
pub(super) fn refusal(message: &str) -> String {
    let words = message.split_once("denied the request: ").map_or(message, |(_, words)| words);
    shorten(&clean(words), MAX_REFUSAL)
}

fn cause_text(cause: crate::pull::Cause) -> &'static str {
    sentence(cause, Verdict::Fails)
}

/// How often.
pub(super) fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
