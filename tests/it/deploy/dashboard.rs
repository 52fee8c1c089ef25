//! The Grafana dashboard: the same in the chart, of metrics that there are.

use std::collections::BTreeSet;

use serde_json::Value;

use super::chart::render;
use super::{one, program, read};

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
