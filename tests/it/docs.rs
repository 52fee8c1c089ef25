//! The pages under `docs/` and the README: every link leads somewhere, and what they list of the
//! program is what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder, those of the build left out.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|one| one == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text without code blocks, where brackets are no links and `#` no heading.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The anchors of a page's headings, as forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let nth = seen.entry(anchor.clone()).or_insert(0);
            *nth += 1;
            if *nth == 1 { anchor } else { format!("{anchor}-{}", *nth - 1) }
        })
        .collect()
}

/// The targets of links and pictures, code spans left out.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let outside: String = prose.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let mut found = Vec::new();
    for part in outside.split("](").skip(1) {
        if let Some((target, _)) = part.split_once(')') {
            found.push(target.split_whitespace().next().unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for page in files(root(), "md") {
        let text = read(&page);
        for link in links(&text) {
            tried += 1;
            if link.starts_with("https://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = match link.split_once('#') {
                Some((path, anchor)) => (path, Some(anchor)),
                None => (link.as_str(), None),
            };
            let target =
                if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let leads = target.exists()
                && anchor.is_none_or(|anchor| anchors(&read(&target)).contains(anchor));
            if !leads {
                wrong.push(format!("{}: {link}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(tried > 40, "only {tried} links were found");
}

#[test]
fn a_link_that_leads_nowhere_would_be_found() {
    let text = "# One two\n[a](b.md#c) `[no](link)`\n```\n[no](either)\n# no\n```\n## One two\n";
    assert_eq!(links(text), ["b.md#c"]);
    assert_eq!(anchors(text), BTreeSet::from(["one-two".to_owned(), "one-two-1".to_owned()]));
}

#[test]
fn every_page_is_reached_from_the_readme_or_the_table_of_docs() {
    let known: BTreeSet<_> = ["README.md", "docs/README.md"]
        .iter()
        .flat_map(|page| {
            let folder = root().join(page).parent().unwrap().to_owned();
            links(&read(&root().join(page)))
                .into_iter()
                .filter_map(move |link| folder.join(link.split('#').next()?).canonicalize().ok())
        })
        .collect();
    for page in files(&root().join("docs"), "md") {
        if page.ends_with("docs/README.md") {
            continue;
        }
        assert!(known.contains(&page.canonicalize().unwrap()), "{} is hidden", page.display());
    }
}

/// The fixed phrases of `WARN` and `ERROR` lines in a source text.
fn phrases(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut found = Vec::new();
    for level in ["tracing::warn!(", "tracing::error!("] {
        for call in code.split(level).skip(1) {
            let call = call.split(");").next().unwrap();
            // The message is the last text of the call; a line that is continued is one.
            let call = call.replace("\\\"", "'");
            let Some(phrase) = call.split('"').skip(1).step_by(2).last() else { continue };
            let lines = phrase.split('\\').map(str::trim_start);
            found.push(lines.collect::<String>());
        }
    }
    found
}

#[test]
fn every_log_line_that_asks_for_something_is_in_troubleshooting() {
    let page = read(&root().join("docs/troubleshooting.md"));
    let mut missing = Vec::new();
    let mut all = 0;
    for file in files(&root().join("src"), "rs") {
        for phrase in phrases(&read(&file)) {
            all += 1;
            // What follows a colon are details; the page has what one looks for.
            let fixed =
                phrase.split([':', ';', '(']).next().unwrap().split('{').next().unwrap().trim();
            if fixed.is_empty() || !page.contains(fixed) {
                missing.push(format!("{}: {phrase}", file.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    // Two lines say only what was handed to them.
    missing.retain(|one| !one.ends_with("rs: {}"));
    assert!(all > 30, "only {all} lines were found");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_metric_and_every_alert_is_in_its_page() {
    let page = read(&root().join("docs/metrics.md"));
    let mut known = BTreeSet::new();
    for file in files(&root().join("src"), "rs").iter().filter(|file| {
        let path = file.to_str().unwrap();
        path.contains("/telemetry/metrics") || path.contains("/registry/metrics")
    }) {
        for call in read(file).split(".register(").skip(1) {
            let Some(name) = call.trim_start().strip_prefix('"') else { continue };
            known.insert(format!("pullgate_{}", name.split('"').next().unwrap()));
        }
    }
    assert!(known.len() > 30, "{known:?}");
    let has = |name: &str| {
        page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}_total`"))
    };
    let missing: Vec<_> = known.iter().filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `pullgate_")?.split('`').next());
    for name in rows {
        let name = format!("pullgate_{}", name.strip_suffix("_total").unwrap_or(name));
        assert!(known.contains(&name), "there is no metric {name}");
    }
    let alerts = read(&root().join("deploy/chart/pullgate/templates/monitoring.yaml"));
    for alert in alerts.split("- alert: ").skip(1).map(|rest| rest.lines().next().unwrap()) {
        assert!(page.contains(&format!("| `{alert}` |")), "{alert} is not in docs/metrics.md");
    }
}
