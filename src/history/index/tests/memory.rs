//! What is remembered beyond the pods' lives, for how long, and across restarts.

use rstest::rstest;

use super::*;

#[test]
fn what_ran_is_remembered_for_the_retention_and_no_longer() {
    let mut index = index(&[pod(1, "r.example/app:1", What::Runs(0))]);
    index.delete_pod(&pod(1, "", What::Waits).uid(), at(1));
    index.tick(at(60 * 24 * 13));
    assert!(ask(&index, "r.example/app:1", &Visibility::Cluster).last_success.is_some());
    index.tick(at(60 * 24 * 15));
    assert_eq!(ask(&index, "r.example/app:1", &Visibility::Cluster).last_success, None);
    assert_eq!(index.size(), IndexSize::default());
}

#[test]
fn the_number_of_remembered_images_is_bounded() {
    let mut index = HealthIndex::new(Limits { images: 100, ..Limits::default() });
    index.apply_pod(&pod(0, "r.example/kept:1", What::Runs(0)).view(), at(0));
    for n in 1..1000 {
        let gone = pod(n, &format!("r{}.example/app:{n}", n % 300), What::Runs(0));
        index.apply_pod(&gone.view(), at(i64::from(n)));
        index.delete_pod(&gone.uid(), at(i64::from(n)));
        assert!(index.size().images <= 127);
    }
    index.tick(at(2000));
    assert!(index.size().images <= 100);
    assert!(index.images.find(&ImageReference::parse("r.example/kept:1").unwrap()).is_some());
    assert!(index.images.registries().filter(|(_, r)| r.repositories > 0).count() <= 101);
}

/// Whoever may write Events can name any image: what ran is not pushed out by it.
#[test]
fn images_that_never_ran_make_room_first() {
    let mut index = HealthIndex::new(Limits { images: 100, ..Limits::default() });
    let gone = pod(1, "r.example/ran:1", What::Runs(0));
    index.apply_pod(&gone.view(), at(0));
    index.delete_pod(&gone.uid(), at(1));
    for n in 0..1000 {
        let message = format!("Container image \"r.example/junk:{n}\" already present on machine");
        index.apply_event(&pod(2, "", What::Waits).event("Pulled", &message, 2 + n), at(2 + n));
    }
    index.tick(at(2000));
    assert!(index.size().images <= 100);
    index.set_freshness(Freshness::Current);
    assert!(ask(&index, "r.example/ran:1", &Visibility::Cluster).last_success.is_some());
}

/// Names that no object can have come by Events, owners and images; so much of them is kept as a name
/// may have.
#[test]
fn texts_of_any_length_are_kept_up_to_a_bound() {
    let long = "x".repeat(1_000_000);
    let mut index = HealthIndex::default();
    let mut odd = pod(1, &format!("{long}.example/app:1"), What::Waits);
    odd.owner = long.clone();
    index.apply_pod(&odd.view(), at(0));
    let event = json!({"reason": "FailedCreate", "message": "m", "lastTimestamp": at(1).to_string(),
        "involvedObject": {"kind": "ReplicaSet", "namespace": "shop", "name": long}});
    index.apply_event(&serde_json::from_value(event).unwrap(), at(1));
    index.set_freshness(Freshness::Current);
    let refusals = index.refusals(&Visibility::Cluster, at(1));
    assert_eq!(refusals[0].name.len(), 1024);
    assert!(index.names.values().all(|name| name.len() <= 1024));
    assert!(index.images_in_use().iter().all(|used| used.image.len() <= 1024));
}

#[test]
fn the_memory_survives_a_restart() {
    let mut before = index(&investigation());
    let mut open = pod(20, "open.example/x:1", What::Runs(-1));
    (open.secrets, open.policy) = (false, "Always");
    before.apply_pod(&open.view(), at(0));
    let bytes = before.snapshot().encode("cluster-1").unwrap();
    let mut after = HealthIndex::default();
    after.restore(Snapshot::decode(&bytes, "cluster-1").unwrap(), at(5));
    after.set_freshness(Freshness::Current);
    let history = ask(&after, "my-registry.io/app:v2.3.0", &Visibility::Cluster);
    let old = ask(&before, "my-registry.io/app:v2.3.0", &Visibility::Cluster);
    assert_eq!(history.last_success, old.last_success);
    assert_eq!((history.known_tags.len(), history.registry.healthy), (0, 0));
    assert_eq!(after.registry_health("open.example", at(5)).node_login, NodeLogin::Possible);
    // Nothing of whom it belonged to.
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("shop") && !text.contains("node-") && !text.contains("web-"));
}

/// Whose pods went is told after a restart as before it, and what happened since then counts.
#[test]
fn workloads_whose_pods_are_gone_survive_a_restart() {
    let image = "r.example/app:1";
    let reference = ImageReference::parse(image).unwrap();
    let subject = ReportTarget::Image(reference);
    let told = |index: &mut HealthIndex| {
        let report = index.report(&subject, &Visibility::Cluster, at(9));
        let lines = report.remembered.into_iter();
        lines.map(|line| (line.name, line.ran, line.last)).collect::<Vec<_>>()
    };
    let mut before = index(&[]);
    for (n, what) in
        [(1, What::Runs(0)), (2, What::Fails("ErrImagePull", NOT_FOUND)), (3, What::Runs(0))]
    {
        let pod = pod(n, image, what);
        before.apply_pod(&pod.view(), at(0));
        before.delete_pod(&pod.uid(), at(i64::from(n)));
    }
    before.set_freshness(Freshness::Current);
    let known = told(&mut before);
    assert!(!known.is_empty());
    let bytes = before.snapshot().encode("cluster-1").unwrap();
    let mut after = HealthIndex::default();
    after.restore(Snapshot::decode(&bytes, "cluster-1").unwrap(), at(5));
    after.set_freshness(Freshness::Current);
    assert_eq!(told(&mut after), known);
    // The same file again adds nothing.
    after.restore(Snapshot::decode(&bytes, "cluster-1").unwrap(), at(5));
    assert_eq!(told(&mut after), known);
    // They are forgotten with the image.
    after.tick(at(60 * 24 * 15));
    assert_eq!((told(&mut after), after.size()), (Vec::new(), IndexSize::default()));
}

#[rstest]
#[case::damaged(|bytes: &mut Vec<u8>| bytes[200] ^= 1, "damaged")]
#[case::cut_off(|bytes: &mut Vec<u8>| bytes.truncate(250), "damaged")]
#[case::foreign(|bytes: &mut Vec<u8>| bytes[0] = b'x', "not a snapshot")]
#[case::empty(|bytes: &mut Vec<u8>| bytes.clear(), "not a snapshot")]
#[case::version(|bytes: &mut Vec<u8>| bytes[16] = b'9', "another version")]
#[case::cluster(|bytes: &mut Vec<u8>| bytes[18] = b'x', "another cluster")]
fn a_bad_snapshot_is_refused_whole(#[case] spoil: fn(&mut Vec<u8>), #[case] says: &str) {
    let mut bytes = index(&investigation()).snapshot().encode("cluster-1").unwrap();
    spoil(&mut bytes);
    let error = Snapshot::decode(&bytes, "cluster-1").unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
}
