//! The first screen: one sentence of cause, one of remedy.

use super::ask::RegistryAnswer;
use crate::advice::{Advice, AdviceKind};
use crate::cluster::RefusedPods;
use crate::history::Report;
use crate::message::sentence;
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
    if report.freshness != "current" {
        return "Nothing can be said yet: the cluster's history is not known.".to_owned();
    }
    if report.registry.health.in_trouble {
        let health = &report.registry.health;
        let mostly = health.main_cause.map(|cause| format!(", mostly {}", words(cause)));
        return sentence_of(&format!(
            "the registry {} is in trouble: {} of {} containers cannot pull from it{}",
            report.registry.host,
            health.failing,
            health.failing + health.healthy,
            mostly.unwrap_or_default()
        ));
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
            words(line.cause)
        ),
        (Some(line), Some(answer)) => format!(
            "nodes fail to pull it ({}: {}); asked now: {}",
            containers(failing, ""),
            words(line.cause),
            answer.cause_words()
        ),
        (Some(line), None) => {
            format!("{} ({})", words(line.cause), containers(failing, ""))
        }
        (None, Some(answer)) if answer.works() => {
            let running = report.scope.running;
            let runs = (running > 0).then(|| format!(", and {}", containers(running, "run")));
            format!("nothing is wrong: the registry has it{}", runs.unwrap_or_default())
        }
        (None, Some(answer)) => format!("{}; no container fails with it now", answer.cause_words()),
        (None, None) if report.registry.health.failing > 0 => format!(
            "{} of its images cannot get them; it is not the registry as a whole",
            containers(report.registry.health.failing, "")
        ),
        (None, None) => "no container fails".to_owned(),
    };
    sentence_of(&told)
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
        return sentence_of(&step_of(advice));
    }
    if let Some(step) = report.next_step() {
        return sentence_of(&step);
    }
    match (broken, answer) {
        (true, Some(answer)) if answer.cause.is_some() => {
            sentence_of("see what the registry answered below")
        }
        (true, _) => sentence_of("see below who refuses its pods, and why"),
        (false, _) => "Nothing to do.".to_owned(),
    }
}

/// What to do by an advice, where its message says only what is.
fn step_of(advice: &Advice) -> String {
    let step = match advice.kind {
        AdviceKind::RegistryService => "bring the registry's pods back",
        AdviceKind::BuildJob if advice.command.is_some() => "run the build",
        AdviceKind::FixSecret if advice.message.starts_with("secret `") => {
            "make a pull secret that works"
        }
        AdviceKind::OtherSource if advice.message.starts_with('`') => "pull it from elsewhere",
        _ => return advice.message.clone(),
    };
    format!("{step}: {}", advice.message)
}

/// The words of a refusal without what every refusal begins with.
pub(super) fn refusal(message: &str) -> String {
    let words = message.split_once("denied the request: ").map_or(message, |(_, words)| words);
    shorten(&clean(words), MAX_REFUSAL)
}

fn words(cause: crate::pull::Cause) -> &'static str {
    sentence(cause, Verdict::Fails)
}

fn containers(count: u32, verb: &str) -> String {
    let (noun, ending) = if count == 1 { ("container", "s") } else { ("containers", "") };
    if verb.is_empty() {
        format!("{count} {noun}")
    } else {
        format!("{count} {noun} {verb}{ending}")
    }
}

/// How often.
pub(super) fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// With a capital in front and a full stop behind.
fn sentence_of(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if words.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}
