//! `--explain-credentials`: which entries of which secrets match an image, in the kubelet's order,
//! and what each got. No secret is shown.

use super::source::FileSource;
use crate::credential::{CredentialOrigin, CredentialSource, Keyring, Match, MatchRule};
use crate::image::ImageReference;
use crate::message::tried_words;
use crate::pull::{Attempt, Outcome};
use crate::report::{CredentialReport, TriedCredential};
use crate::review::{ImageReview, PodSecrets, SecretsOrigin};
use crate::text::clean;

/// Entries that do not count and are named one by one; the rest is counted.
const MAX_NOTES: usize = 8;

/// What the person's own login got.
pub(super) struct OwnLoginResult {
    pub(super) outcome: Outcome,
    /// Whether the verdict is that of this login.
    pub(super) decided: bool,
}

/// The report about one image.
pub(super) fn explain(
    files: &FileSource,
    namespace: &str,
    secrets: &PodSecrets,
    image: &ImageReview,
    own: Option<OwnLoginResult>,
) -> CredentialReport {
    let mut report = CredentialReport { origin: origin(secrets), ..CredentialReport::default() };
    let Ok(reference) = &image.reference else {
        report.notes.push("the image name does not parse, so nothing is tried".to_owned());
        return report;
    };
    let decided = own.as_ref().is_some_and(|own| own.decided);
    match &secrets.keyring {
        Ok(keyring) => {
            // The attempts of a verdict by the person's own login are not the kubelet's.
            let attempts = if decided { &[][..] } else { &image.attempts };
            tried(&mut report, keyring, reference, attempts);
            notes(&mut report, keyring, reference);
        }
        Err(error) => report.notes.push(format!(
            "secret {}: {}: the kubelet then pulls nothing at all",
            clean(error.secret()),
            clean(&error.to_string())
        )),
    }
    for name in &secrets.missing {
        report
            .notes
            .push(format!("secret {} does not exist: the kubelet goes on without it", clean(name)));
    }
    for name in secrets.names.iter().filter(|name| files.is_absent(namespace, name)) {
        report.notes.push(format!("secret {} is not in these files", clean(name)));
    }
    if let SecretsOrigin::ServiceAccount(account) = &secrets.origin
        && files.is_assumed(namespace, account)
    {
        report.notes.push(format!(
            "ServiceAccount {} is not in these files: it was taken to have no pull secrets",
            clean(account)
        ));
    }
    if let Some(own) = own {
        let (outcome, words) = tried_words(&own.outcome);
        report.tried.push(TriedCredential {
            from: CredentialOrigin::User.to_string(),
            key: String::new(),
            rule: "own_login",
            outcome,
            words: format!("{words} (nodes do not have it)"),
        });
    }
    report
}

fn origin(secrets: &PodSecrets) -> String {
    let described = secrets.describe("it could not be read, or does not exist yet");
    described.map_or_else(
        || "pull secrets: which ones its pods will have this object does not tell".to_owned(),
        |described| format!("pull secrets {described}"),
    )
}

/// What was tried, then what matches and was not tried.
fn tried(
    report: &mut CredentialReport,
    keyring: &Keyring,
    reference: &ImageReference,
    attempts: &[Attempt],
) {
    let mut matches = keyring.explain(reference);
    for attempt in attempts {
        let (outcome, words) = tried_words(&attempt.lookup.outcome);
        let Some(source) = &attempt.source else {
            report.tried.push(TriedCredential {
                from: "anonymous, since no entry matches".to_owned(),
                key: String::new(),
                rule: "anonymous",
                outcome,
                words,
            });
            continue;
        };
        let found = match source.origin {
            CredentialOrigin::Secret(_) => matches.next(),
            _ => None,
        };
        report.tried.push(entry(source, found, outcome, words));
    }
    for found in matches {
        let words = "not tried".to_owned();
        report.tried.push(entry(found.credential.source(), Some(found), "not_tried", words));
    }
}

fn entry(
    source: &CredentialSource,
    found: Option<Match<'_>>,
    outcome: &'static str,
    mut words: String,
) -> TriedCredential {
    if found.is_some_and(|found| found.rule == MatchRule::HubFallback) {
        words.push_str(" (matches because nothing else does and the image is of Docker Hub)");
    }
    if found.is_some_and(|found| found.credential.is_anonymous()) {
        words.push_str(" (an entry without a user name: runtimes send no login)");
    }
    TriedCredential {
        from: clean(&source.origin.to_string()),
        key: clean(&source.written),
        rule: match found.map(|found| found.rule) {
            Some(MatchRule::Key) => "key",
            Some(MatchRule::HubFallback) => "hub_fallback",
            None => "node",
        },
        outcome,
        words,
    }
}

fn notes(report: &mut CredentialReport, keyring: &Keyring, reference: &ImageReference) {
    for ignored in keyring.ignored() {
        report.notes.push(format!(
            "secret {} is passed over: {}",
            clean(&ignored.name),
            clean(&ignored.problem.to_string())
        ));
    }
    let dropped: Vec<_> = keyring.dropped().collect();
    for source in dropped.iter().take(MAX_NOTES) {
        report.notes.push(format!(
            "{} key {} is no address: the kubelet drops it",
            clean(&source.origin.to_string()),
            clean(&source.written)
        ));
    }
    if dropped.len() > MAX_NOTES {
        report.notes.push(format!("{} more keys are no addresses", dropped.len() - MAX_NOTES));
    }
    if keyring.is_disputed(reference) {
        report.notes.push(
            "a key with brackets matches on some kubelets only: what the node does depends on it"
                .to_owned(),
        );
    }
}
