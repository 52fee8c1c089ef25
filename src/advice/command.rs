//! Commands to paste, where every name in them is one that may stand in a command as it is.

use super::secret::is_plain;
use crate::workload::ContainerKind;

/// An object that a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandTarget<'a> {
    /// `Deployment`, `StatefulSet`, …, `Pod`.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Kinds whose pods follow a change of the template, one revision after the other.
const ROLLED_OUT: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
/// The kind whose pods follow it from the next run on.
const CRON_JOB: &str = "CronJob";
/// Kinds that `kubectl set image` knows beside these.
const SET_IMAGE: [&str; 3] = [CRON_JOB, "ReplicaSet", "Pod"];

impl CommandTarget<'_> {
    /// `deployment/web`, if its names are no more than names.
    fn named(&self) -> Option<String> {
        let plain = is_plain(self.name) && is_plain(self.namespace);
        let kind = self.kind.to_ascii_lowercase();
        (plain && is_plain(&kind)).then(|| format!("{kind}/{}", self.name))
    }

    fn is_rolled_out(&self) -> bool {
        ROLLED_OUT.contains(&self.kind)
    }

    /// Puts another image into a container or a volume. Nothing can put one into a container that
    /// was added to a running pod.
    pub(crate) fn set_image(&self, kind: ContainerKind, name: &str, image: &str) -> Option<String> {
        let known = self.is_rolled_out() || SET_IMAGE.contains(&self.kind);
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-._:/@[]+".contains(&b);
        let plain = is_plain(name) && image.bytes().all(harmless) && !image.starts_with('-');
        let (named, namespace) = (self.named()?, self.namespace);
        match kind {
            _ if !plain => None,
            ContainerKind::Init | ContainerKind::Regular => {
                let command = || format!("kubectl set image {named} {name}={image} -n {namespace}");
                known.then(command)
            }
            ContainerKind::ImageVolume => self.patch_pod_spec(&format!(
                "{{\"volumes\":[{{\"name\":\"{name}\",\"image\":{{\"reference\":\"{image}\"}}}}]}}"
            )),
            ContainerKind::Ephemeral => None,
        }
    }

    /// Goes back to the revision before.
    pub(crate) fn undo(&self) -> Option<String> {
        let (named, namespace) = (self.named()?, self.namespace);
        self.is_rolled_out().then(|| format!("kubectl rollout undo {named} -n {namespace}"))
    }

    /// Makes its pods anew, so that they take what has changed beside them.
    pub(crate) fn restart(&self) -> Option<String> {
        let (named, namespace) = (self.named()?, self.namespace);
        self.is_rolled_out().then(|| format!("kubectl rollout restart {named} -n {namespace}"))
    }

    /// Names a pull secret in its template, beside those that it names. `before` are those that its
    /// pods have: once a template names one, those of the ServiceAccount no longer count.
    pub(crate) fn add_pull_secret(&self, before: &[Box<str>], secret: &str) -> Option<String> {
        let list = named_secrets(before, secret)?;
        self.patch_pod_spec(&format!("{{\"imagePullSecrets\":[{list}]}}"))
    }

    /// Gives a container or volume of its template another pull policy.
    pub(crate) fn set_pull_policy(
        &self,
        kind: ContainerKind,
        name: &str,
        policy: &str,
    ) -> Option<String> {
        let plain = is_plain(name) && policy.bytes().all(|b| b.is_ascii_alphabetic());
        let containers = |list: &str| {
            format!("{{\"{list}\":[{{\"name\":\"{name}\",\"imagePullPolicy\":\"{policy}\"}}]}}")
        };
        let spec = match kind {
            ContainerKind::Init => containers("initContainers"),
            ContainerKind::Regular => containers("containers"),
            ContainerKind::ImageVolume => format!(
                "{{\"volumes\":[{{\"name\":\"{name}\",\"image\":{{\"pullPolicy\":\"{policy}\"}}}}]}}"
            ),
            ContainerKind::Ephemeral => return None,
        };
        plain.then(|| self.patch_pod_spec(&spec)).flatten()
    }

    fn patch_pod_spec(&self, spec: &str) -> Option<String> {
        let (named, namespace) = (self.named()?, self.namespace);
        let template = format!("{{\"spec\":{{\"template\":{{\"spec\":{spec}}}}}}}");
        let patch = match self.kind {
            CRON_JOB => format!("{{\"spec\":{{\"jobTemplate\":{template}}}}}"),
            _ if self.is_rolled_out() => template,
            _ => return None,
        };
        Some(format!("kubectl patch {named} -n {namespace} -p '{patch}'"))
    }

    /// Shows whether it came about.
    pub(crate) fn verify(&self) -> Option<String> {
        let (named, namespace) = (self.named()?, self.namespace);
        Some(if self.is_rolled_out() {
            format!("kubectl rollout status {named} -n {namespace}")
        } else {
            format!("kubectl get {named} -n {namespace}")
        })
    }
}

/// Names a pull secret in a ServiceAccount, behind those that it names already: the list is
/// replaced as a whole by a patch.
pub(crate) fn add_to_service_account(
    account: &str,
    namespace: &str,
    before: &[Box<str>],
    secret: &str,
) -> Option<String> {
    let list = named_secrets(before, secret)?;
    let plain = is_plain(account) && is_plain(namespace);
    plain.then(|| {
        format!(
            "kubectl patch serviceaccount {account} -n {namespace} -p \
             '{{\"imagePullSecrets\":[{list}]}}'"
        )
    })
}

/// Deletes pods, whose controller makes new ones.
pub fn delete_pods(names: &[&str], namespace: &str) -> Option<String> {
    let plain = is_plain(namespace) && names.iter().all(|name| is_plain(name));
    plain.then(|| format!("kubectl delete pod {} -n {namespace}", names.join(" ")))
}

/// The elements of a list of pull secrets.
fn named_secrets(before: &[Box<str>], secret: &str) -> Option<String> {
    let names = before.iter().map(|name| &**name).filter(|name| *name != secret).chain([secret]);
    let list: Option<Vec<String>> =
        names.map(|name| is_plain(name).then(|| format!("{{\"name\":\"{name}\"}}"))).collect();
    Some(list?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: CommandTarget<'_> =
        CommandTarget { kind: "Deployment", namespace: "shop", name: "web" };

    const NIGHTLY: CommandTarget<'_> =
        CommandTarget { kind: "CronJob", namespace: "shop", name: "nightly" };

    #[test]
    fn commands_are_whole() {
        let all = [
            WEB.set_image(ContainerKind::Regular, "app", "r.example:5000/shop/app:1"),
            WEB.set_image(ContainerKind::ImageVolume, "data", "r.example/data:1"),
            WEB.undo(),
            WEB.add_pull_secret(&[], "registry-login"),
            NIGHTLY.add_pull_secret(&["old".into()], "registry-login"),
            WEB.set_pull_policy(ContainerKind::Regular, "app", "IfNotPresent"),
            WEB.set_pull_policy(ContainerKind::Init, "load", "IfNotPresent"),
            add_to_service_account("default", "shop", &["old".into()], "new"),
            WEB.verify(),
        ];
        insta::assert_snapshot!(all.map(Option::unwrap).join("\n"), @r#"
        kubectl set image deployment/web app=r.example:5000/shop/app:1 -n shop
        kubectl patch deployment/web -n shop -p '{"spec":{"template":{"spec":{"volumes":[{"name":"data","image":{"reference":"r.example/data:1"}}]}}}}'
        kubectl rollout undo deployment/web -n shop
        kubectl patch deployment/web -n shop -p '{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"registry-login"}]}}}}'
        kubectl patch cronjob/nightly -n shop -p '{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"old"},{"name":"registry-login"}]}}}}}}'
        kubectl patch deployment/web -n shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"app","imagePullPolicy":"IfNotPresent"}]}}}}'
        kubectl patch deployment/web -n shop -p '{"spec":{"template":{"spec":{"initContainers":[{"name":"load","imagePullPolicy":"IfNotPresent"}]}}}}'
        kubectl patch serviceaccount default -n shop -p '{"imagePullSecrets":[{"name":"old"},{"name":"new"}]}'
        kubectl rollout status deployment/web -n shop
        "#);
    }

    #[test]
    fn what_is_more_than_a_name_gives_no_command() {
        assert_eq!(WEB.set_image(ContainerKind::Regular, "app", "x; rm -rf /"), None);
        assert_eq!(WEB.set_image(ContainerKind::Ephemeral, "app", "a:1"), None);
        assert_eq!(WEB.add_pull_secret(&[], "a'b"), None);
        let odd = CommandTarget { name: "$(x)", ..WEB };
        assert_eq!((odd.undo(), odd.verify()), (None, None));
        let job = CommandTarget { kind: "Job", ..WEB };
        let set = job.set_image(ContainerKind::Regular, "app", "a:1");
        assert_eq!((set, job.undo()), (None, None));
    }
}
