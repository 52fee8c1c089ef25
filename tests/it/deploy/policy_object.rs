//! The policy as an object of the cluster, with the rights that are deployed: taken into force
//! without a restart, refused without harm, and its status says which.

use std::time::Duration;

use serde_json::{Value, json};

use super::chart::render;
use super::deployed::{Deployed, Replica, eventually, review_of};
use super::program;

fn policy(spec: &Value) -> Value {
    json!({"apiVersion": "pullgate.dev/v1alpha1", "kind": "PullgatePolicy",
           "metadata": {"name": "pullgate"}, "spec": spec})
}

/// The condition `InForce`, with the generation that it is about and that of the object.
fn condition(deployed: &Deployed) -> (String, String, bool) {
    let object = deployed.kubectl.get(&["pullgatepolicy", "pullgate"]).unwrap_or_default();
    let condition = &object["status"]["conditions"][0];
    let about_this = condition["observedGeneration"].is_i64()
        && condition["observedGeneration"] == object["metadata"]["generation"];
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"), about_this)
}

#[test]
fn the_policy_of_the_cluster_is_followed_and_told_what_becomes_of_it() {
    let values = ["policyFrom.kind=PullgatePolicy", "policyFrom.render=false", "log.level=debug"];
    let Some(deployed) = Deployed::start(&values) else { return };
    deployed.cluster.namespace_called("shop", &[("pullgate.dev/mode", "enforce")]);
    // Nobody has made it yet: that keeps nothing from starting.
    let mut replica = deployed.replica("pullgate-0", &[]);
    replica.until_metric("pullgate_policy_current 0");
    let endpoint = deployed.endpoint();
    let refused = |image: &str| {
        let answer = replica.review(&endpoint, "shop", image);
        answer["allowed"] == false
    };
    assert!(!refused("refused.example.com/a/b:1"));
    let told = || replica.process.output().contains("there is no such PullgatePolicy");
    eventually("it is told", told);

    // Kinds that are no part of Kubernetes are read without a word in the policy.
    for (group, kind) in [
        ("argoproj.io", "Rollout"),
        ("serving.knative.dev", "Service"),
        ("serving.knative.dev", "Configuration"),
        ("apps.openshift.io", "DeploymentConfig"),
    ] {
        let mut review = review_of("shop", &json!({}));
        let request = &mut review["request"];
        request["kind"] = json!({"group": group, "version": "v1", "kind": kind});
        request["object"] = json!({"apiVersion": format!("{group}/v1"), "kind": kind,
            "metadata": {"name": "x", "namespace": "shop"},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a b"}]}}}});
        let (_, answer) = replica.post(&endpoint, &review).unwrap();
        assert!(answer.contains("image a b"), "{kind}: {answer}");
    }

    deployed.apply(&[&policy(&json!({"registries": {"refuse": ["refused.example.com"]}}))]);
    eventually("it is in force", || refused("refused.example.com/a/b:1"));
    eventually("its status says so", || {
        let (status, message, current) = condition(&deployed);
        current && status == "True" && message == "this document is in force"
    });

    // What the API server lets pass and Pullgate cannot use: the old document stays.
    let exception = json!({"name": "a", "owner": "b", "reason": "c", "expires": "2027-13-45",
                           "match": {"images": ["docker.io"]}});
    deployed.apply(&[&policy(&json!({"exceptions": [exception],
                                     "registries": {"refuse": ["other.example.com"]}}))]);
    eventually("its status says what is wrong", || {
        let (status, message, current) = condition(&deployed);
        current
            && status == "False"
            && message.starts_with("spec.exceptions[0].expires: \"2027-13-45\" is not a moment")
            && message.ends_with("the document before it is in force")
    });
    assert!(refused("refused.example.com/a/b:1") && !refused("other.example.com/a/b:1"));

    // Another manager may hold the fields: applying the same again changes nothing, and neither
    // does Pullgate while there is no news.
    let before = deployed.kubectl.get(&["pullgatepolicy", "pullgate"]).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    let after = deployed.kubectl.get(&["pullgatepolicy", "pullgate"]).unwrap();
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);

    deployed.apply(&[&policy(&json!({"registries": {"refuse": ["other.example.com"]}}))]);
    eventually("the mended one is in force", || {
        refused("other.example.com/a/b:1") && !refused("refused.example.com/a/b:1")
    });
    eventually("its status says so", || condition(&deployed).0 == "True");

    // Who gets past is counted and logged. Nobody can pull an image that is called `a b`.
    let invalid = || refused("a b");
    assert!(invalid());
    deployed.apply(&[&policy(&json!({"breakGlass": {"users": ["ann"]}}))]);
    eventually("break-glass", || !invalid());
    let exception = json!({"name": "known", "owner": "b", "reason": "c", "expires": "2099-01-01",
        "match": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}});
    deployed.apply(&[&policy(&json!({"exceptions": [exception]}))]);
    eventually("the exception", || {
        let _answer = replica.review(&endpoint, "shop", "a b");
        replica.process.output().contains(r#""exceptions":"known""#)
    });
    assert!(!invalid());
    assert!(replica.process.output().contains(r#""break_glass":"ann""#));
    let (_, page) = replica.admin_page("metrics").unwrap();
    for by in ["break_glass", "exception"] {
        assert!(page.contains(&format!(r#"pullgate_let_through_total{{by="{by}"}}"#)), "{page}");
    }
    // One line a review; those with something to say are for everybody.
    let lines = replica.process.output();
    let lines = lines.lines().filter(|line| line.contains(r#""message":"reviewed""#));
    for line in lines {
        let quiet = line.contains(r#""level":"DEBUG""#);
        let nothing = [r#""decision":"allow""#, r#""decision":"skip""#];
        let nothing = nothing.iter().any(|one| line.contains(one))
            && !line.contains(r#""exceptions":"#)
            && !line.contains(r#""break_glass":"#);
        assert_eq!(quiet, nothing, "{line}");
    }
    let reviews = replica.process.output().matches(r#""message":"reviewed""#).count();
    let (_, page) = replica.admin_page("metrics").unwrap();
    let counted = page.lines().filter_map(|line| line.strip_prefix("pullgate_reviews_total{"));
    let counted = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    assert_eq!(reviews, counted.sum::<usize>());

    // It goes, as when the policy moves into a ConfigMap: what was in force stays so, and that it
    // is not the document of now is told.
    deployed.apply(&[&policy(&json!({"registries": {"refuse": ["last.example.com"]}}))]);
    eventually("the last one", || refused("last.example.com/a/b:1"));
    deployed.kubectl.run(&["delete", "pullgatepolicy", "pullgate"]).ok().unwrap();
    replica.until_metric("pullgate_policy_current 0");
    eventually("it is told", || {
        replica
            .process
            .output()
            .contains("there is no such PullgatePolicy: the one before is in force")
    });
    assert_eq!(replica.review(&endpoint, "shop", "last.example.com/a/b:1")["allowed"], false);
    let token = deployed.token().unwrap();
    assert!(!replica.process.output().contains(&token), "the token is logged");
}

#[test]
fn a_cluster_without_the_definition_is_served_under_the_default_policy() {
    let values = ["policyFrom.kind=PullgatePolicy", "policyFrom.render=false", "crd.install=false"];
    let Some(deployed) = Deployed::start(&values) else { return };
    let mut replica = deployed.replica("pullgate-0", &[]);
    replica.until_metric("pullgate_policy_current 0");
    let told = "the API server does not show the PullgatePolicy";
    eventually("it is told", || replica.process.output().contains(told));
    let endpoint = deployed.endpoint();
    assert_eq!(replica.review(&endpoint, "default", "a b")["allowed"], true);
}

const KEPT: [&str; 4] = ["configmap", "-n", "pullgate", "pullgate-policy-in-force"];

/// Whether the policy that was last accepted is kept with this word in it.
fn keeps(deployed: &Deployed, word: &str) -> bool {
    let kept = deployed.kubectl.get(&KEPT).unwrap_or_default();
    kept["data"]["policy.yaml"].as_str().is_some_and(|text| text.contains(word))
}

fn end(mut replica: Replica) {
    assert!(replica.process.terminate(Duration::from_secs(10)).success());
}

#[test]
fn a_policy_that_was_in_force_is_so_after_a_restart_until_the_next_one_is_accepted() {
    let object = ["policyFrom.kind=PullgatePolicy", "policyFrom.render=false"];
    let file = ["policy.registries.refuse={file.example.com}"];
    let Some(mut deployed) = Deployed::start(&file) else { return };
    let Some(helm) = program("helm") else { return };
    deployed.cluster.namespace_called("shop", &[("pullgate.dev/mode", "enforce")]);
    let more = ["--lame-duck-seconds=0"];
    let start = |deployed: &Deployed, name: &str| deployed.replica(name, &more);
    let refused = |deployed: &Deployed, replica: &Replica, image: &str| {
        replica.review(&deployed.endpoint(), "shop", image)["allowed"] == false
    };
    let delete = |deployed: &Deployed| {
        deployed.kubectl.run(&["delete", "pullgatepolicy", "pullgate"]).ok().unwrap();
    };

    // From a file to an object that nobody has made yet.
    let replica = start(&deployed, "pullgate-0");
    eventually("it is kept", || keeps(&deployed, "file.example.com"));
    end(replica);
    let image = "image.repository=127.0.0.1:9/pullgate";
    deployed.objects = render(&helm, &[object[0], object[1], image]).unwrap();
    let all: Vec<&Value> = deployed.objects.iter().collect();
    deployed.apply(&all);
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    deployed.kubectl.run(&established).ok().unwrap();
    assert!(keeps(&deployed, "file.example.com"), "the chart takes it away");
    let mut replica = start(&deployed, "pullgate-1");
    eventually("the file's policy", || refused(&deployed, &replica, "file.example.com/a/b:1"));
    replica.until_metric("pullgate_policy_current 0");
    deployed.apply(&[&policy(&json!({"registries": {"refuse": ["first.example.com"]}}))]);
    replica.until_metric("pullgate_policy_current 1");
    assert!(refused(&deployed, &replica, "first.example.com/a/b:1"));
    assert!(!refused(&deployed, &replica, "file.example.com/a/b:1"));
    eventually("it is kept", || keeps(&deployed, "first.example.com"));
    // Only what somebody wrote.
    assert!(!keeps(&deployed, "status") && !keeps(&deployed, "uid"));
    end(replica);

    // The object goes, and everybody restarts.
    delete(&deployed);
    let replica = start(&deployed, "pullgate-2");
    let told = || {
        let said = "there is no such PullgatePolicy: the one before is in force";
        replica.process.output().contains(said)
    };
    eventually("it is told", told);
    assert!(refused(&deployed, &replica, "first.example.com/a/b:1"));
    // Nothing is kept: the default policy.
    deployed.kubectl.run(&[&["delete"], &KEPT[..]].concat()).ok().unwrap();
    end(replica);
    assert!(!keeps(&deployed, "first.example.com"));
    let replica = start(&deployed, "pullgate-3");
    assert!(!refused(&deployed, &replica, "first.example.com/a/b:1"), "nothing is kept");
    deployed.apply(&[&policy(&json!({"registries": {"refuse": ["second.example.com"]}}))]);
    eventually("the second is in force", || refused(&deployed, &replica, "second.example.com/a:1"));
    eventually("it is kept", || keeps(&deployed, "second.example.com"));
    end(replica);

    // It cannot be used, and at first what is kept cannot be read either.
    let exception = json!({"name": "a", "owner": "b", "reason": "c", "expires": "2027-13-45",
                           "match": {"images": ["docker.io"]}});
    deployed.apply(&[&policy(&json!({"exceptions": [exception]}))]);
    let role = ["get", "role", "-n", "pullgate", "pullgate", "-o", "json"];
    let role: Value = serde_json::from_str(&deployed.kubectl.run(&role).ok().unwrap()).unwrap();
    let mut less = json!({"apiVersion": role["apiVersion"], "kind": "Role",
        "metadata": {"name": "pullgate", "namespace": "pullgate"}, "rules": role["rules"]});
    let more_rules = less.clone();
    let rules = less["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["resources"] != json!(["configmaps"]));
    let replace = |role: &Value| {
        deployed.kubectl.run_with(&["replace", "-f", "-"], &role.to_string()).ok().unwrap();
    };
    replace(&less);
    let replica = start(&deployed, "pullgate-4");
    let said = "failed to read the policy that was last accepted, retrying";
    eventually("it is told", || replica.process.output().contains(said));
    assert!(!refused(&deployed, &replica, "second.example.com/a:1"));
    replace(&more_rules);
    eventually("the second is in force", || refused(&deployed, &replica, "second.example.com/a:1"));
    assert_eq!(replica.process.output().matches(said).count(), 1);
    eventually("its status says so", || {
        condition(&deployed).1.ends_with("the document before it is in force")
    });

    // The way back to the default policy, which stays as well.
    deployed.apply(&[&policy(&json!({"defaultMode": "warn"}))]);
    eventually("the default", || !refused(&deployed, &replica, "second.example.com/a:1"));
    eventually("it is kept", || {
        keeps(&deployed, "warn") && !keeps(&deployed, "second.example.com")
    });
    end(replica);
    delete(&deployed);
    let replica = start(&deployed, "pullgate-5");
    let said = "took the policy that was last accepted into force";
    eventually("it is told", || replica.process.output().contains(said));
    assert!(!refused(&deployed, &replica, "second.example.com/a:1"));
}
