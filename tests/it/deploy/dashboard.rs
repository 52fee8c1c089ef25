//! The Grafana dashboard: the same in the chart, of metrics that there are, and every panel shows
//! something of a replica that a real Prometheus scraped.

mod pictures;

use std::collections::BTreeSet;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::balancer::Balancer;
use super::chart::render;
use super::deployed::{Deployed, eventually};
use super::{one, program, read};
use crate::cluster::images::Image;
use crate::cluster::nodes;
use crate::cluster::registry::{Access, Registry};
use crate::cluster::wait_until;
use pictures::Drawn;

/// The panels, without the rows.
pub(super) fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// Title and expression of every query.
pub(super) fn queries(dashboard: &Value) -> Vec<(&str, &str)> {
    let panels = panels(dashboard).into_iter();
    panels
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap();
            let targets = panel["targets"].as_array().unwrap().iter();
            targets.map(move |target| (title, target["expr"].as_str().unwrap()))
        })
        .collect()
}

#[test]
fn the_dashboard_in_the_chart_is_the_one_to_import() {
    let file = read("deploy/grafana/pullgate.json");
    assert_eq!(file, read("deploy/chart/pullgate/files/dashboard.json"));
    let Some(helm) = program("helm") else { return };
    let objects = render(&helm, &["dashboard.enabled=true"]).unwrap();
    let map = one(&objects, "ConfigMap", "pullgate-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let data: Value = serde_json::from_str(map["data"]["pullgate.json"].as_str().unwrap()).unwrap();
    assert_eq!(data, serde_json::from_str::<Value>(&file).unwrap());
}

#[test]
fn every_panel_is_described_and_no_two_overlap() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/pullgate.json")).unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let number = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for y in number("y")..number("y") + number("h") {
            for x in number("x")..number("x") + number("w") {
                assert!(x < 24 && taken.insert((x, y)), "{} at {x}, {y}", panel["title"]);
            }
        }
    }
    let panels = panels(&dashboard);
    assert!(panels.len() >= 25, "{}", panels.len());
    for panel in panels {
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
    }
    // One installation among several can be chosen.
    for (title, expression) in queries(&dashboard) {
        let selectors = expression.matches("pullgate_").count();
        let chosen = expression.matches("namespace=~\"$namespace\",service=~\"$service\"").count();
        assert!(selectors > 0 && selectors == chosen, "{title}: {expression}");
    }
}

/// A Prometheus that scrapes one target and answers queries.
struct Prometheus {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Prometheus {
    fn of(program: &std::path::Path, admin: u16) -> Self {
        let mut child = Command::new(program)
            .args(["query", &format!("127.0.0.1:{admin}"), "pullgate", "pullgate-metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, answers }
    }

    /// The series of an expression of the dashboard, each with its labels and points.
    fn ask(&mut self, expression: &str) -> Vec<(Value, Vec<(f64, f64)>)> {
        let expression = expression
            .replace("$namespace", ".*")
            .replace("$service", ".*")
            .replace("$__rate_interval", "10s")
            .replace("$__range", "10m");
        writeln!(self.questions.as_mut().unwrap(), "{expression}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer["error"].is_null(), "{expression}: {}", answer["error"]);
        let series = answer["series"].as_array().unwrap().iter();
        series
            .map(|one| {
                let points = one["values"].as_array().unwrap().iter();
                let points = points.map(|at| (at[0].as_f64().unwrap(), at[1].as_f64().unwrap()));
                (one["labels"].clone(), points.collect())
            })
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ended = self.child.wait();
    }
}

/// A legend such as `{{registry}} {{cause}}` with these labels.
fn legend(format: &str, labels: &Value) -> String {
    let mut text = format.to_owned();
    for (name, value) in labels.as_object().into_iter().flatten() {
        text = text.replace(&format!("{{{{{name}}}}}"), value.as_str().unwrap_or_default());
    }
    text
}

#[test]
fn every_panel_shows_what_a_prometheus_scraped_of_a_replica() {
    let Some(prometheus) = program("alerts") else { return };
    let balancer = Balancer::start();
    let port = format!("service.port={}", balancer.port);
    let values = [
        &port,
        "audit.seconds=1",
        "policy.nodes.mirrors=none",
        "policy.nodes.credentials=none",
        "policy.nodes.preloadedImages=none",
        "policy.nodes.network=same",
        "policy.nodes.platforms[0]=linux/amd64",
        "policy.latePush.grace=0s",
        "policy.breakGlass.annotation=true",
    ];
    let Some(deployed) = Deployed::start(&values) else { return };
    deployed.route_to_loopback();
    let cluster = &deployed.cluster;
    nodes::create_node(cluster, "n1", "amd64", &[], &[]);
    let registry = Registry::start(cluster.programs(), Access::Anonymous).unwrap();
    let mut down = Registry::start(cluster.programs(), Access::Anonymous).unwrap();
    let image = Image::single("amd64", "1");
    registry.push("shop/app", &["1", "2"], &image);
    cluster.namespace_called("shop", &[]);
    cluster.namespace_called("strict", &[("pullgate.dev/mode", "enforce")]);
    let pod = |namespace: &str, name: &str, image: &str| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [{"name": "c", "image": image}]}});
        deployed.kubectl.run_with(&["create", "-f", "-"], &pod.to_string())
    };
    let replica = deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8"]);
    let mut prometheus = Prometheus::of(&prometheus, replica.admin);
    balancer.add(&replica);
    deployed.endpoint();
    let missing = |tag: &str| registry.image(&format!("shop/app:{tag}"));
    eventually("the webhook", || pod("strict", "probe", &missing("none")).code != 0);

    // The scenes: what runs, what is missing, what is denied, a registry that goes away, a tag that is
    // deleted under a pod that runs it, a name that no runtime parses, somebody with a break-glass.
    pod("shop", "good", &registry.image("shop/app:1")).ok().unwrap();
    pod("shop", "doomed", &registry.image("shop/app:2")).ok().unwrap();
    for name in ["good", "doomed"] {
        nodes::play_running(cluster, "shop", name, "n1", image.digest());
    }
    down.stop();
    // What a panel draws by its rate has to go on while it is looked at.
    let go_on = |round: u32| {
        pod("shop", &format!("missing-{round}"), &missing(&format!("9.{round}"))).ok().unwrap();
        let failing = (
            "ErrImagePull",
            "rpc error: code = NotFound desc = failed to pull and unpack \
             image: failed to resolve reference: not found",
        );
        nodes::play_failing(cluster, "shop", &format!("missing-{round}"), "n1", failing);
        pod("strict", &format!("denied-{round}"), &missing(&format!("8.{round}")));
        pod("shop", &format!("down-{round}"), &down.image(&format!("a/b:{round}"))).ok().unwrap();
        pod("shop", &format!("again-{round}"), &registry.image("shop/app:1")).ok().unwrap();
        std::thread::sleep(Duration::from_secs(2));
    };
    (0..4).for_each(go_on);
    registry.untag("shop/app", "2");

    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/pullgate.json")).unwrap();
    let mut rounds = 4..;
    wait_until("data in every panel", || {
        let shows = |expression: &str, prometheus: &mut Prometheus| {
            prometheus.ask(expression).iter().any(|(_, points)| !points.is_empty())
        };
        let mut queries = queries(&dashboard).into_iter();
        match queries.find(|(_, expression)| !shows(expression, &mut prometheus)) {
            None => Ok(()),
            Some(without) => {
                go_on(rounds.next().unwrap_or_default());
                Err(format!("{without:?}").into())
            }
        }
    })
    .unwrap();
    // What the scenes were about is there, and not only a zero.
    let mut greatest = |expression: &str| {
        let series = prometheus.ask(expression);
        let values = series.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
        values.fold(f64::MIN, f64::max)
    };
    for told in [
        r#"pullgate_reviews_total{decision="deny"}"#,
        r#"pullgate_image_verdicts_total{verdict="fails",cause="tag_not_found"}"#,
        r#"pullgate_would_deny_total{cause="tag_not_found"}"#,
        r#"pullgate_image_pullable{cause="tag_not_found"}"#,
        r#"pullgate_lookups_total{outcome="network"}"#,
        "pullgate_leader",
        r#"pullgate_index_state{state="current"}"#,
    ] {
        assert!(greatest(told) >= 1.0, "{told}");
    }

    if std::env::var_os("UPDATE_DOCS").is_some() {
        draw(&dashboard, &mut prometheus, [&registry.host(), &down.host()]);
    }
}

/// Draws each row into the pages; the registries get names of documentation.
fn draw(dashboard: &Value, prometheus: &mut Prometheus, [up, down]: [&str; 2]) {
    let mut rows: Vec<(String, Vec<&Value>)> = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        match (panel["type"].as_str(), rows.last_mut()) {
            (Some("row"), _) => rows.push((panel["title"].as_str().unwrap().to_owned(), vec![])),
            (_, Some((_, panels))) => panels.push(panel),
            _ => {}
        }
    }
    for (title, panels) in rows {
        let drawn: Vec<Drawn<'_>> = panels
            .into_iter()
            .map(|panel| {
                let targets = panel["targets"].as_array().unwrap().iter();
                let series = targets.flat_map(|target| {
                    let format = target["legendFormat"].as_str().unwrap();
                    let series = prometheus.ask(target["expr"].as_str().unwrap()).into_iter();
                    series.map(move |(labels, points)| (legend(format, &labels), points))
                });
                let series = series
                    .map(|(name, points)| {
                        let name = name.replace(up, "registry.example.com");
                        (name.replace(down, "old.example.com"), points)
                    })
                    .collect();
                Drawn { panel, series }
            })
            .collect();
        let word = title.split([':', ' ']).next().unwrap().to_lowercase();
        let file = format!("docs/pictures/dashboard-{word}.svg");
        std::fs::write(super::root().join(file), pictures::row(&title, &drawn)).unwrap();
    }
}
