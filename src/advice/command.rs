//! Commands to paste, where every name in them is one that may stand in a command as it is.

use super::secret::is_plain;

/// An object that a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandTarget<'a> {
    /// `Deployment`, `StatefulSet`, …, `Pod`.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Kinds whose pods follow a change of the template, one revision after the other.
const ROLLED_OUT: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];
/// Kinds that `kubectl set image` knows beside these.
const SET_IMAGE: [&str; 3] = ["CronJob", "ReplicaSet", "Pod"];

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

    /// Puts another image into a container.
    pub fn set_image(&self, container: &str, image: &str) -> Option<String> {
        let known = self.is_rolled_out() || SET_IMAGE.contains(&self.kind);
        let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-._:/@[]+".contains(&b);
        let plain = is_plain(container) && image.bytes().all(harmless) && !image.starts_with('-');
        let (named, namespace) = (self.named()?, self.namespace);
        (known && plain)
            .then(|| format!("kubectl set image {named} {container}={image} -n {namespace}"))
    }

    /// Goes back to the revision before.
    pub fn undo(&self) -> Option<String> {
        let (named, namespace) = (self.named()?, self.namespace);
        self.is_rolled_out().then(|| format!("kubectl rollout undo {named} -n {namespace}"))
    }

    /// Makes its pods anew, so that they take what has changed beside them.
    pub fn restart(&self) -> Option<String> {
        let (named, namespace) = (self.named()?, self.namespace);
        self.is_rolled_out().then(|| format!("kubectl rollout restart {named} -n {namespace}"))
    }

    /// Names a pull secret in its template, beside those that it names.
    pub fn add_pull_secret(&self, secret: &str) -> Option<String> {
        let spec = format!("{{\"imagePullSecrets\":[{{\"name\":\"{secret}\"}}]}}");
        is_plain(secret).then(|| self.patch_pod_spec(&spec)).flatten()
    }

    /// Gives a container of its template another pull policy.
    pub fn set_pull_policy(&self, container: &str, policy: &str) -> Option<String> {
        let spec = format!(
            "{{\"containers\":[{{\"name\":\"{container}\",\"imagePullPolicy\":\"{policy}\"}}]}}"
        );
        let plain = is_plain(container) && policy.bytes().all(|b| b.is_ascii_alphabetic());
        plain.then(|| self.patch_pod_spec(&spec)).flatten()
    }

    fn patch_pod_spec(&self, spec: &str) -> Option<String> {
        let (named, namespace) = (self.named()?, self.namespace);
        let patch = format!("{{\"spec\":{{\"template\":{{\"spec\":{spec}}}}}}}");
        self.is_rolled_out().then(|| format!("kubectl patch {named} -n {namespace} -p '{patch}'"))
    }

    /// Shows whether it came about.
    pub fn verify(&self) -> Option<String> {
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
pub fn add_to_service_account(
    account: &str,
    namespace: &str,
    before: &[Box<str>],
    secret: &str,
) -> Option<String> {
    let mut names: Vec<&str> = before.iter().map(|name| &**name).collect();
    names.push(secret);
    let plain = is_plain(account) && is_plain(namespace) && names.iter().all(|one| is_plain(one));
    let list: Vec<String> = names.iter().map(|name| format!("{{\"name\":\"{name}\"}}")).collect();
    let list = list.join(",");
    plain.then(|| {
        format!(
            "kubectl patch serviceaccount {account} -n {namespace} -p \
             '{{\"imagePullSecrets\":[{list}]}}'"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: CommandTarget<'_> =
        CommandTarget { kind: "Deployment", namespace: "shop", name: "web" };

    #[test]
    fn commands_are_whole() {
        let all = [
            WEB.set_image("app", "r.example:5000/shop/app:1"),
            WEB.undo(),
            WEB.add_pull_secret("registry-login"),
            WEB.set_pull_policy("app", "IfNotPresent"),
            add_to_service_account("default", "shop", &["old".into()], "new"),
            WEB.verify(),
        ];
        insta::assert_snapshot!(all.map(Option::unwrap).join("\n"), @r#"
        kubectl set image deployment/web app=r.example:5000/shop/app:1 -n shop
        kubectl rollout undo deployment/web -n shop
        kubectl patch deployment/web -n shop -p '{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"registry-login"}]}}}}'
        kubectl patch deployment/web -n shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"app","imagePullPolicy":"IfNotPresent"}]}}}}'
        kubectl patch serviceaccount default -n shop -p '{"imagePullSecrets":[{"name":"old"},{"name":"new"}]}'
        kubectl rollout status deployment/web -n shop
        "#);
    }

    #[test]
    fn what_is_more_than_a_name_gives_no_command() {
        assert_eq!(WEB.set_image("app", "x; rm -rf /"), None);
        assert_eq!(WEB.add_pull_secret("a'b"), None);
        let odd = CommandTarget { name: "$(x)", ..WEB };
        assert_eq!((odd.undo(), odd.verify()), (None, None));
        let job = CommandTarget { kind: "Job", ..WEB };
        assert_eq!((job.set_image("app", "a:1"), job.undo()), (None, None));
    }
}
