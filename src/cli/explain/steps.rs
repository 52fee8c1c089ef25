//! What to do, as commands: for the object that has the image, by what was proven.

use super::object::ChosenObject;
use crate::advice::{
    Advice, AdviceKind, CommandTarget, add_to_service_account, delete_pods, login_command,
    login_name,
};
use crate::history::Report;
use crate::image::ImageReference;
use crate::pull::Cause;
use crate::workload::ContainerKind;

/// What commands are made for.
pub(super) struct Steps<'a> {
    pub(super) target: CommandTarget<'a>,
    pub(super) image: &'a ImageReference,
    /// The containers and volumes that have the image.
    pub(super) containers: Vec<(ContainerKind, Box<str>)>,
    /// The ServiceAccount whose pull secrets count, if they do.
    pub(super) account: Option<&'a str>,
    /// The pull secrets that are named already.
    pub(super) named: &'a [Box<str>],
    /// Pods of it that fail, where those are waited for before others are made.
    pub(super) waited_for: Vec<&'a str>,
    /// Whether pods of another revision run.
    pub(super) previous_runs: bool,
}

/// The containers and volumes of an object that have this image.
pub(super) fn containers(
    object: &ChosenObject,
    image: &ImageReference,
) -> Vec<(ContainerKind, Box<str>)> {
    let named = object.images().filter(|(_, named)| named.is_same_image(image));
    named.map(|(place, _)| (place.kind, place.container.clone())).collect()
}

impl Steps<'_> {
    /// The ways out, the best first: the commands of each belong together, and one way is enough.
    pub(super) fn ways(&self, advice: &[Advice], report: &Report) -> Vec<Vec<String>> {
        let mut ways: Vec<Vec<String>> = Vec::new();
        let (mut other_image, mut helped) = (false, false);
        for advice in advice {
            let own = match advice.kind {
                AdviceKind::KnownGoodTag
                | AdviceKind::LastGoodDigest
                | AdviceKind::NearestTag
                | AdviceKind::NearestRepository
                | AdviceKind::OtherSource
                | AdviceKind::CorrectName
                    if !other_image =>
                {
                    let found = self.replacing(self.set_image(&self.named_image(advice)));
                    other_image = !found.is_empty();
                    found
                }
                AdviceKind::PullSecret => self.use_secret(&advice.value),
                AdviceKind::PullPolicy | AdviceKind::ImageOnNodes => {
                    let containers = self.containers.iter();
                    let set = containers.filter_map(|(kind, name)| {
                        self.target.set_pull_policy(*kind, name, &advice.value)
                    });
                    self.replacing(set.collect())
                }
                AdviceKind::FixSecret if advice.command.is_some() => {
                    let own = advice.command.clone().into_iter();
                    own.chain(self.use_new_secret(advice.command.as_deref())).collect()
                }
                _ => advice.command.clone().into_iter().collect(),
            };
            helped |= !own.is_empty() || advice.kind == AdviceKind::PullSecret;
            ways.push(own);
        }
        if self.previous_runs {
            ways.push(self.replacing(self.target.undo().into_iter().collect()));
        }
        if !helped && wants_login(report) {
            let login = login_command(self.target.namespace, self.image.host());
            let used = self.use_new_secret(login.as_deref());
            ways.push(login.into_iter().chain(used).collect());
        }
        let mut seen: Vec<Vec<String>> = Vec::new();
        ways.retain(|way| {
            let new = !way.is_empty() && !seen.contains(way);
            seen.push(way.clone());
            new
        });
        ways
    }

    /// The commands that show whether it came about.
    pub(super) fn verify(&self) -> Vec<String> {
        let CommandTarget { kind, namespace, name } = self.target;
        let mut commands: Vec<String> = self.target.verify().into_iter().collect();
        if !commands.is_empty() {
            let kind = kind.to_ascii_lowercase();
            commands.push(format!("pullgate explain {kind}/{name} -n {namespace}"));
        }
        commands
    }

    /// The image that an advice speaks of, whole.
    fn named_image(&self, advice: &Advice) -> String {
        let name = self.image.name();
        match advice.kind {
            AdviceKind::KnownGoodTag | AdviceKind::NearestTag | AdviceKind::LastGoodDigest => {
                if advice.value.contains('/') {
                    advice.value.to_string()
                } else if advice.value.contains(':') {
                    format!("{name}@{}", advice.value)
                } else {
                    format!("{name}:{}", advice.value)
                }
            }
            _ => advice.value.to_string(),
        }
    }

    /// Commands after which there are to be new pods. A StatefulSet waits for those that fail, also
    /// where its template would do by now
    /// (<https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback>).
    fn replacing(&self, mut commands: Vec<String>) -> Vec<String> {
        if !commands.is_empty() && !self.waited_for.is_empty() {
            commands.extend(delete_pods(&self.waited_for, self.target.namespace));
        }
        commands
    }

    /// What names the secret that this command makes, if it makes one that nothing names yet.
    fn use_new_secret(&self, command: Option<&str>) -> Vec<String> {
        let host = self.image.host();
        match command {
            Some(made) if login_command(self.target.namespace, host).as_deref() == Some(made) => {
                self.use_secret(&login_name(host))
            }
            _ => Vec::new(),
        }
    }

    fn set_image(&self, image: &str) -> Vec<String> {
        let containers = self.containers.iter();
        containers.filter_map(|(kind, name)| self.target.set_image(*kind, name, image)).collect()
    }

    /// Names a pull secret that was tried: at the ServiceAccount if its secrets count, else in the
    /// template.
    fn use_secret(&self, secret: &str) -> Vec<String> {
        let Some(account) = self.account else {
            let named = self.target.add_pull_secret(self.named, secret);
            return self.replacing(named.into_iter().collect());
        };
        let named = add_to_service_account(account, self.target.namespace, self.named, secret);
        self.replacing(named.into_iter().chain(self.target.restart()).collect())
    }
}

/// Whether pods fail for want of a login.
fn wants_login(report: &Report) -> bool {
    report.failures.causes.first().is_some_and(|line| {
        matches!(line.cause, Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing)
    })
}
