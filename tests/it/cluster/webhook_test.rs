//! What kubectl shows of a webhook's warnings and denials: the plumbing, without Pullgate.

use super::webhook::{DummyWebhook, Registration};
use super::{shared, wait_until};

#[test]
fn warnings_and_denials_reach_the_person_at_kubectl() {
    let Some(cluster) = shared() else { return };
    let namespace = cluster.namespace("dummy", &[("dummy", "yes")]);
    let outside = cluster.namespace("outside", &[]);
    let webhook = DummyWebhook::start().unwrap();
    Registration {
        name: "dummy",
        url: &webhook.url,
        authority: &webhook.authority,
        namespaces: ("dummy", "yes"),
        failure_policy: "Fail",
    }
    .create(cluster);
    let admin = cluster.admin();
    let run = |namespace: &str, image: &str, more: &[&str]| {
        let image = format!("--image={image}");
        let made = ["run", "pod", &image, "--dry-run=server", "-n", namespace];
        admin.run(&[&made[..], more].concat())
    };
    wait_until("the webhook", || match run(&namespace, "warn:1", &[]) {
        warned if warned.stderr.contains("Warning") => Ok(()),
        other => Err(format!("{other:?}").into()),
    })
    .unwrap();

    let warned = run(&namespace, "warn:1", &[]);
    assert_eq!(warned.code, 0);
    assert_eq!(warned.stdout, "pod/pod created (server dry run)\n");
    assert_eq!(warned.stderr, "Warning: this image was warned of\n");

    let strict = run(&namespace, "warn:1", &["--warnings-as-errors"]);
    assert_eq!(strict.code, 1);
    assert!(strict.stderr.ends_with("error: 1 warning received\n"), "{}", strict.stderr);

    let denied = run(&namespace, "deny:1", &[]);
    assert_eq!((denied.code, &*denied.stdout), (1, ""));
    assert_eq!(
        denied.stderr,
        "Error from server (Forbidden): admission webhook \"dummy.pullgate.dev\" denied the \
         request: this image was denied\n"
    );

    let silent = run(&namespace, "fine:1", &[]);
    assert_eq!((silent.code, &*silent.stderr), (0, ""));
    let asked = webhook.asked();
    assert_eq!(run(&outside, "deny:1", &[]).code, 0);
    assert_eq!(webhook.asked(), asked, "namespaces without the label are not asked about");
}
