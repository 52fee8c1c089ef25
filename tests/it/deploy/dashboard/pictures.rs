//! Pictures of the dashboard's rows, drawn from what a Prometheus answered. Not Grafana's own, but of
//! the same panels and the same data.

#![allow(
    clippy::write_with_newline,
    clippy::cast_precision_loss,
    clippy::format_push_string,
    reason = "a drawing: small numbers, and lines as they stand in the file"
)]

use std::fmt::Write as _;

use serde_json::Value;

/// A panel, and the series of each of its queries with their legends.
pub(super) struct Drawn<'a> {
    pub(super) panel: &'a Value,
    pub(super) series: Vec<(String, Vec<(f64, f64)>)>,
}

const COLOURS: [&str; 8] =
    ["#3274d9", "#56a64b", "#e0b400", "#e02f44", "#8f3bb8", "#ff780a", "#37872d", "#6e7681"];
/// Pixels of one column and one line of the dashboard's grid.
const COLUMN: f64 = 40.0;
const LINE: f64 = 24.0;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A number as a person reads it.
fn shown(value: f64) -> String {
    if value.abs() >= 1000.0 || (value.fract() == 0.0) {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

/// One row as SVG.
pub(super) fn row(title: &str, panels: &[Drawn<'_>]) -> String {
    let grid = |panel: &Value, name: &str| panel["gridPos"][name].as_f64().unwrap();
    let top = panels.iter().map(|one| grid(one.panel, "y")).fold(f64::MAX, f64::min);
    let bottom = panels.iter().map(|one| grid(one.panel, "y") + grid(one.panel, "h"));
    let height = (bottom.fold(0.0, f64::max) - top) * LINE + 30.0;
    let width = 24.0 * COLUMN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{}\">\n<style>text{{font:11px system-ui,sans-serif;fill:#1f2328}}\
         .t{{font-weight:600;font-size:12px}}.n{{font-size:22px;font-weight:600}}\
         .b{{fill:#fff;stroke:#d0d7de}}@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}\
         .b{{fill:#161b22;stroke:#30363d}}}}</style>\n<text class=\"t\" x=\"4\" y=\"18\">{}</text>\n",
        escaped(title),
        escaped(title)
    );
    for drawn in panels {
        let (x, y) =
            (grid(drawn.panel, "x") * COLUMN, (grid(drawn.panel, "y") - top) * LINE + 28.0);
        let (w, h) = (grid(drawn.panel, "w") * COLUMN - 8.0, grid(drawn.panel, "h") * LINE - 8.0);
        let _ = write!(
            svg,
            "<rect class=\"b\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"4\"/>\
             <text class=\"t\" x=\"{}\" y=\"{}\">{}</text>\n",
            x + 8.0,
            y + 18.0,
            escaped(drawn.panel["title"].as_str().unwrap())
        );
        let inside = (x + 8.0, y + 26.0, w - 16.0, h - 34.0);
        match drawn.panel["type"].as_str().unwrap() {
            "timeseries" => lines(&mut svg, inside, &drawn.series),
            "bargauge" => bars(&mut svg, inside, &drawn.series),
            _ => numbers(&mut svg, inside, &drawn.series),
        }
    }
    svg + "</svg>\n"
}

type Frame = (f64, f64, f64, f64);

fn lines(svg: &mut String, (x, y, w, h): Frame, series: &[(String, Vec<(f64, f64)>)]) {
    let points = || series.iter().flat_map(|(_, points)| points);
    let begin = points().map(|(time, _)| *time).fold(f64::MAX, f64::min);
    let end = points().map(|(time, _)| *time).fold(f64::MIN, f64::max);
    let most = points().map(|(_, value)| *value).fold(0.0, f64::max);
    let legend = 14.0 * series.len().min(5).div_ceil(2) as f64;
    let plot = h - legend - 6.0;
    let _ = write!(svg, "<text x=\"{x}\" y=\"{}\">{}</text>\n", y + 10.0, shown(most));
    for (at, (name, points)) in series.iter().take(8).enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let mut path = String::new();
        for (time, value) in points {
            let px = x + (time - begin) / (end - begin).max(1.0) * w;
            let py = y + plot - value / most.max(1e-9) * (plot - 14.0);
            let _ = write!(path, "{}{px:.1} {py:.1}", if path.is_empty() { "M" } else { "L" });
        }
        let _ = write!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n"
        );
        if at < 6 {
            let (lx, ly) = (x + (at % 2) as f64 * w / 2.0, y + plot + 14.0 * (at / 2 + 1) as f64);
            let _ = write!(
                svg,
                "<rect x=\"{lx}\" y=\"{}\" width=\"8\" height=\"8\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{ly}\">{}</text>\n",
                ly - 8.0,
                lx + 12.0,
                escaped(name)
            );
        }
    }
}

fn last(points: &[(f64, f64)]) -> f64 {
    points.last().map_or(0.0, |(_, value)| *value)
}

fn bars(svg: &mut String, (x, y, w, _): Frame, series: &[(String, Vec<(f64, f64)>)]) {
    let most = series.iter().map(|(_, points)| last(points)).fold(0.0, f64::max);
    for (at, (name, points)) in series.iter().take(6).enumerate() {
        let (value, top) = (last(points), y + 4.0 + 24.0 * at as f64);
        let _ = write!(
            svg,
            "<rect x=\"{x}\" y=\"{top}\" width=\"{:.1}\" height=\"18\" fill=\"#ff9830\" \
             opacity=\"0.5\"/><text x=\"{}\" y=\"{}\">{}: {}</text>\n",
            value / most.max(1e-9) * w,
            x + 4.0,
            top + 13.0,
            escaped(name),
            shown(value)
        );
    }
}

fn numbers(svg: &mut String, (x, y, _, h): Frame, series: &[(String, Vec<(f64, f64)>)]) {
    if let Some((name, points)) = series.first() {
        let name_is_it = name == "current" || name == "learning" || name == "stale";
        let text = if name_is_it { name.clone() } else { shown(last(points)) };
        let _ = write!(
            svg,
            "<text class=\"n\" x=\"{x}\" y=\"{}\">{}</text>\n",
            y + h / 2.0 + 8.0,
            escaped(&text)
        );
    }
}
