//! The page as a person sees it.

use serde_json::json;

use super::*;
use crate::history::HealthIndex;
use crate::kube_views::PodView;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn pod(nth: u32, owner: &str, image: &str, state: &serde_json::Value) -> PodView {
    serde_json::from_value(json!({
        "metadata": {"name": format!("{owner}-{nth}"), "namespace": "shop",
            "uid": format!("00000000-0000-4000-8000-{nth:012x}"),
            "creationTimestamp": at(-12).to_string(),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner,
                "uid": "u", "controller": true}]},
        "spec": {"nodeName": "n", "containers": [{"name": "a", "image": image}]},
        "status": {"containerStatuses": [{"name": "a", "imageID": "", "state": state}]},
    }))
    .unwrap()
}

fn cluster() -> HealthIndex {
    let runs = json!({"running": {"startedAt": at(-3000).to_string()}});
    let fails = json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}});
    let mut index = HealthIndex::default();
    index.apply_pod(&pod(1, "web", "my-registry.io/app:v2.3.1", &fails), at(0));
    index.apply_pod(&pod(2, "jobs", "my-registry.io/app:v2.3.1", &fails), at(0));
    for nth in 3..6 {
        index.apply_pod(&pod(nth, "old", "my-registry.io/app:v2.3.0", &runs), at(0));
    }
    index.apply_pod(&pod(9, "db", "my-registry.io/db:1", &runs), at(0));
    index.set_freshness(Freshness::Current);
    index
}

fn page(subject: &ReportTarget, visibility: &Visibility) -> String {
    cluster().report(subject, visibility, at(0)).to_page(at(0), 80)
}

#[test]
fn a_missing_tag_reads_so() {
    let subject = ReportTarget::Image(ImageReference::parse("my-registry.io/app:v2.3.1").unwrap());
    insta::assert_snapshot!(page(&subject, &Visibility::Cluster), @r"
    Image       my-registry.io/app:v2.3.1

    Scope       2 pods: 2 failing; several workloads of one namespace.
                  statefulset/jobs in shop: 0 of 1 running, 1 failing
                  statefulset/web in shop: 0 of 1 running, 1 failing

    Failures    tag_not_found: 2 containers of 2 workloads, for 12 min
                The same cause everywhere.

    Other tags  v2.3.0: 3 running, 0 failing, last started 2 days ago  <- last good

    Registry    my-registry.io: 2 of 6 containers cannot get their image (33 %),
                mostly tag_not_found. No sign of trouble with the registry itself.
    ");
    let report = cluster().report(&subject, &Visibility::Cluster, at(0));
    assert_eq!(
        report.next_step().as_deref(),
        Some(
            "use a tag or digest that exists, or push this one; my-registry.io/app:v2.3.0 runs here"
        )
    );
}

#[test]
fn an_unknown_image_reads_so() {
    let subject = ReportTarget::Image(ImageReference::parse("my-registry.io/none:1").unwrap());
    let partial = Visibility::Namespaces(vec!["shop".into()]);
    insta::assert_snapshot!(page(&subject, &partial), @r"
    Image       my-registry.io/none:1
                Partial view: only namespaces in which you may list pods are
                counted.

    Scope       No pod has it, and none is in the history.

    Failures    None now.

    Other tags  None known here.

    Registry    my-registry.io: 2 of 6 containers cannot get their image (33 %),
                mostly tag_not_found. No sign of trouble with the registry itself.
    ");
}

#[test]
fn others_do_not_show_in_a_partial_view() {
    let subject = ReportTarget::Image(ImageReference::parse("my-registry.io/app:v2.3.1").unwrap());
    let page = page(&subject, &Visibility::Namespaces(vec!["other".into()]));
    assert!(!page.contains("shop") && !page.contains("v2.3.0"), "{page}");
    assert!(page.contains("no container uses it now"), "{page}");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let subject = ReportTarget::Registry("my-registry.io".into());
    for width in [40, 80, 100] {
        let page = cluster().report(&subject, &Visibility::Cluster, at(0)).to_page(at(0), width);
        assert!(page.lines().all(|line| line.chars().count() <= width), "{page}");
    }
}

/// Somebody made it by hand: it has no workload, and counts all the same.
#[test]
fn a_bare_pod_is_no_workload() {
    let image = "my-registry.io/app:v2.3.1";
    let fails = json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}});
    let mut bare = pod(7, "alone", image, &fails);
    bare.metadata.owner_references = None;
    let mut index = HealthIndex::default();
    index.apply_pod(&bare, at(0));
    index.set_freshness(Freshness::Current);
    let subject = ReportTarget::Image(ImageReference::parse(image).unwrap());
    let page = index.report(&subject, &Visibility::Cluster, at(0)).to_page(at(0), 100);
    assert!(page.contains("tag_not_found: 1 container of pods without a workload"), "{page}");
}
