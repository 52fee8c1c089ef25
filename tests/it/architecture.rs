//! The import rule: pure modules in their order, edges that do not import each other, no orphan
//! files, no module reached around its front door.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Pure modules: each may use those before it.
const PURE: &[&str] = &[
    "text",
    "duration",
    "yaml",
    "image",
    "user",
    "kube_views",
    "node_config",
    "credential",
    "workload",
    "pull",
    "failure",
    "builds",
    "history",
    "advice",
    "policy",
    "message",
    "risk",
    "report",
    "admission",
];
/// The use case: may use every pure module.
const USE_CASE: &str = "review";
/// Edges: may use the pure modules and the use case's traits, never each other.
const EDGES: &[&str] = &["registry", "node", "cluster", "pki", "server", "web", "telemetry"];
/// The wiring: may use everything.
const WIRING: &[&str] = &["serve", "cli", "main", "lib"];
/// What no pure module and no use case may name.
const OUTSIDE: &[&str] = &[
    "tokio::",
    "axum::",
    "reqwest::",
    "hyper::",
    "kube::Client",
    "kube::client",
    "kube::runtime",
    "tracing::",
    "std::net::Tcp",
    "std::fs::",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    ".elapsed()",
];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).unwrap();
                let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
                let module_name = first.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: inside.to_owned(), module: module_name, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The code of a file: no comments, no unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules that a file names as `crate::module` or within `use crate::{module, ...}`.
fn imports(text: &str) -> BTreeSet<String> {
    let code = code(text);
    code.match_indices("crate::")
        .map(|(at, _)| {
            let rest = &code[at + "crate::".len()..];
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        })
        .collect()
}

#[test]
fn every_module_is_known() {
    for source in sources() {
        let known = PURE.contains(&&*source.module)
            || source.module == USE_CASE
            || EDGES.contains(&&*source.module)
            || WIRING.contains(&&*source.module);
        assert!(known, "{} is in no module of the list above", source.path.display());
    }
}

#[test]
fn modules_import_only_what_they_may() {
    let mut wrong = Vec::new();
    for source in sources() {
        let module = &*source.module;
        for import in imports(&source.text) {
            let import = &*import;
            let own = import == module;
            let pure = PURE.iter().position(|one| *one == import);
            let allowed = own
                || match PURE.iter().position(|one| *one == module) {
                    Some(place) => pure.is_some_and(|other| other < place),
                    None if module == USE_CASE => pure.is_some(),
                    // Typed metric handles are the one thing that edges share.
                    None if EDGES.contains(&module) => {
                        pure.is_some()
                            || import == USE_CASE
                            || (import == "telemetry" && module != "telemetry")
                    }
                    None => true,
                };
            if !allowed {
                wrong.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_modules_never_touch_the_outside() {
    let mut wrong = Vec::new();
    for source in sources() {
        if PURE.contains(&&*source.module) || source.module == USE_CASE {
            let code = code(&source.text);
            for outside in OUTSIDE.iter().filter(|outside| code.contains(**outside)) {
                wrong.push(format!("{} names {outside}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The name of a file as a path of modules, such as `registry::cache`.
fn module(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.join("::").trim_end_matches(".rs").to_owned()
}

/// Every `use` of a file, one path for each name that it brings.
fn uses(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    for statement in code.split(';') {
        let Some(at) = statement.rfind("use ").filter(|at| {
            let before = statement[..*at].trim_end();
            before.is_empty() || before.ends_with([')', '}', ']']) || before.ends_with("pub")
        }) else {
            continue;
        };
        let tree: String = statement[at + 4..].split_whitespace().collect::<Vec<_>>().join(" ");
        spread("", &tree, &mut |path| all.push(path.to_owned()));
    }
    all
}

/// Takes `a::{b, c::{d}}` apart.
fn spread(before: &str, tree: &str, found: &mut impl FnMut(&str)) {
    let Some((head, rest)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default().trim();
        if !name.is_empty() {
            found(&format!("{before}{name}"));
        }
        return;
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut depth, mut begin) = (0, 0);
    let before = format!("{before}{}", head.trim());
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spread(&before, inside[begin..at].trim(), found);
                begin = at + 1;
            }
            _ => {}
        }
    }
}

/// What files import from files of the same module: `pub use` of a front door leads on to the file that
/// has the thing. What a front door itself takes from the files behind it is not counted.
fn imports_within_modules() -> BTreeMap<String, BTreeSet<String>> {
    let files: BTreeMap<String, String> =
        sources().into_iter().map(|one| (module(&one.path), code(&one.text))).collect();
    let absolute = |file: &str, path: &str| -> Option<String> {
        let mut base: Vec<&str> = file.split("::").collect();
        let mut rest = path;
        if let Some(path) = path.strip_prefix("crate::") {
            return Some(path.to_owned());
        }
        rest = rest.strip_prefix("self::").unwrap_or(rest);
        let above = path.starts_with("super::");
        while let Some(path) = rest.strip_prefix("super::") {
            base.pop();
            rest = path;
        }
        let own = files.contains_key(&format!("{file}::{}", rest.split("::").next()?));
        (above || path.starts_with("self::") || own).then(|| {
            base.push(rest);
            base.join("::")
        })
    };
    // Where a front door has its names from.
    let mut doors: BTreeMap<String, String> = BTreeMap::new();
    for (file, code) in &files {
        for path in uses(code) {
            if let Some(whole) = absolute(file, &path)
                && let Some((from, name)) = whole.rsplit_once("::")
                && from.rsplit_once("::").is_some_and(|(parent, _)| parent == file)
                && files.contains_key(from)
            {
                doors.insert(format!("{file}::{name}"), from.to_owned());
            }
        }
    }
    let mut all = BTreeMap::new();
    for (file, code) in &files {
        let module = file.split("::").next().unwrap_or_default();
        let mut found = BTreeSet::new();
        for path in uses(code) {
            let Some(mut whole) = absolute(file, &path) else { continue };
            while let Some(from) = doors.get(&whole) {
                let name = whole.rsplit("::").next().unwrap_or_default().to_owned();
                whole = format!("{from}::{name}");
            }
            let target = [Some(&*whole), whole.rsplit_once("::").map(|(from, _)| from)]
                .into_iter()
                .flatten()
                .find(|one| files.contains_key(*one));
            let other = |one: &&str| {
                *one != file && !one.starts_with(&format!("{file}::")) && one.starts_with(module)
            };
            if let Some(target) = target.filter(other) {
                found.insert(target.to_owned());
            }
        }
        all.insert(file.clone(), found);
    }
    all
}

#[test]
fn files_of_a_module_do_not_import_each_other_in_a_circle() {
    let imports = imports_within_modules();
    let edges: usize = imports.values().map(BTreeSet::len).sum();
    assert!(edges > 300, "imports are found: {edges}");
    // Takes away what imports nothing that is left, until only circles are left.
    let mut left = imports.clone();
    loop {
        let done: Vec<String> = left
            .iter()
            .filter(|(_, to)| to.iter().all(|one| !left.contains_key(one)))
            .map(|(file, _)| file.clone())
            .collect();
        if done.is_empty() {
            break;
        }
        left.retain(|file, _| !done.contains(file));
    }
    // What only leads into a circle is no part of it.
    loop {
        let wanted: BTreeSet<String> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|file, _| wanted.contains(file));
        if left.len() == before {
            break;
        }
    }
    let circle: Vec<_> = left
        .iter()
        .map(|(file, to)| {
            let to: Vec<_> = to.iter().filter(|one| left.contains_key(*one)).collect();
            format!("{file} imports {to:?}")
        })
        .collect();
    assert!(circle.is_empty(), "{circle:#?}");
}

/// Tables that are made once are no state.
#[test]
fn pure_modules_keep_no_state_of_their_own() {
    const STATE: &[&str] =
        &["Atomic", "Mutex", "RwLock", "OnceLock", "OnceCell", "RefCell", "Cell<"];
    let mut wrong = Vec::new();
    for source in sources().into_iter().filter(|source| PURE.contains(&&*source.module)) {
        let code = code(&source.text);
        let statics = code.split("static ").skip(1).map(|rest| rest.split('=').next().unwrap());
        let has_state = |one: &&str| STATE.iter().any(|word| one.contains(word));
        wrong.extend(
            statics
                .filter(|one| one.contains(':'))
                .filter(has_state)
                .map(|one| format!("{}: {one}", source.path.display())),
        );
        if code.contains("thread_local!") {
            wrong.push(format!("{}: thread_local", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_an_orphan() {
    let sources = sources();
    for source in &sources {
        let stem = source.path.file_stem().unwrap().to_str().unwrap();
        let folder = source.path.parent().unwrap();
        let parent = if folder.as_os_str().is_empty() {
            if stem == "lib" || stem == "main" {
                continue;
            }
            PathBuf::from("lib.rs")
        } else {
            folder.with_extension("rs")
        };
        let parent_text = &sources
            .iter()
            .find(|other| other.path == parent)
            .unwrap_or_else(|| panic!("{} has no {}", source.path.display(), parent.display()))
            .text;
        let declared = parent_text.lines().any(|line| {
            let line = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            line == format!("mod {stem};")
        });
        assert!(declared, "{} is included by nobody", source.path.display());
    }
}

#[test]
fn every_module_says_what_it_is() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{} has no header", source.path.display());
    }
}

#[test]
fn the_front_door_decides_what_is_public() {
    for source in sources() {
        if source.path.components().count() == 1 && source.module != "lib" {
            let open = source.text.lines().find(|line| line.starts_with("pub mod "));
            assert!(open.is_none(), "{}: {}", source.path.display(), open.unwrap_or_default());
        }
    }
}

/// What people read has one plain word for one thing; these are the ones that were given up.
/// Files that write Markdown, or read what others put between backticks.
const MARKDOWN: &[&str] = &[
    "report/markdown.rs",
    "report/sarif.rs",
    "failure/tokens.rs",
    "policy/parse.rs",
    "registry/challenge.rs",
];

/// What people read in a terminal has no markup: a name needs none, and a command stands at the end.
#[test]
fn texts_have_no_backticks() {
    let mut found = Vec::new();
    for source in sources() {
        let path = source.path.display().to_string();
        if MARKDOWN.iter().any(|file| path.ends_with(file)) || path.ends_with("/tests.rs") {
            continue;
        }
        let code = source.text.split("#[cfg(test)]").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let lines = lines.map(|line| line.split(" // ").next().unwrap());
        found.extend(lines.filter(|line| line.contains('`')).map(|line| format!("{path}: {line}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The text without what stands in string literals.
fn without_strings(code: &str) -> String {
    let mut rest = String::with_capacity(code.len());
    let mut inside = false;
    let mut before = ' ';
    for c in code.chars() {
        let escaped = before == '\\';
        let is_char = before == '\'' && !inside;
        match c {
            '"' if !escaped && !is_char => inside = !inside,
            _ if inside => {}
            _ => rest.push(c),
        }
        before = if escaped && c == '\\' { ' ' } else { c };
    }
    rest
}

/// Names that needed a glossary of our own.
#[test]
fn retired_names_do_not_come_back() {
    const NAMES: &[&str] = &[
        "Alone",
        "Answered",
        "Asked",
        "Asker",
        "Because",
        "Bench",
        "BlindnessTold",
        "Concern",
        "ConcernSink",
        "Concerns",
        "Counting",
        "CutShort",
        "Desk",
        "Directions",
        "Entered",
        "Fence",
        "Flights",
        "FoundAgain",
        "GivenVerdict",
        "Habits",
        "House",
        "KeepAsSaid",
        "Keeper",
        "Landing",
        "Lane",
        "Lived",
        "Looked",
        "LookedAgain",
        "Matter",
        "Means",
        "Memory",
        "Neighbours",
        "Others",
        "Parting",
        "Picture",
        "Proving",
        "Recalled",
        "Remade",
        "Remembered",
        "Rename",
        "Said",
        "Softened",
        "SpaceCause",
        "Standing",
        "StillThere",
        "TakenUnseen",
        "Unseen",
        "Visit",
        "Way",
        "Weighing",
        "Wish",
        "Word",
        "Worst",
        "asker",
        "concern",
        "house",
        "is_experience",
        "lived",
        "look_after",
        "look_once",
        "part_when_stopping",
        "picture",
    ];
    // Words of the field, too, or of others' libraries: only no type of ours has them as its name.
    const TYPES: &[&str] = &[
        "Around", "Case", "Entrance", "Family", "Gone", "InForce", "Judged", "Kept", "Lost",
        "Material", "Own", "Space", "View",
    ];
    let mut found = Vec::new();
    for source in sources() {
        let code = without_strings(&code(&source.text));
        let words: Vec<&str> = code
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|w| !w.is_empty())
            .collect();
        let path = source.path.display();
        for (at, word) in words.iter().enumerate() {
            let declares = at > 0 && ["struct", "enum", "trait"].contains(&words[at - 1]);
            if NAMES.contains(word) || (declares && TYPES.contains(word)) {
                found.push(format!("{path}: {word}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn retired_phrases_do_not_come_back() {
    const RETIRED: &[&str] = &[
        "lived through",
        "had too much to do",
        "ended well",
        "did not answer as hoped",
        "no such tag or digest",
        "Pullgate asked",
        "denied under PullgatePolicy",
        "although this namespace enforces",
        "does not rule out that nodes have",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("docs"), root.join("deploy/chart")];
    let mut files = vec![root.join("README.md")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 200);
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" /// ", " ");
        found.extend(
            RETIRED
                .iter()
                .filter(|phrase| text.contains(*phrase))
                .map(|phrase| format!("{}: {phrase}", file.display())),
        );
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Lines of a file, its tests left out, beyond which it holds more than one thing.
const LONGEST: usize = 500;

#[test]
fn a_file_holds_one_thing() {
    for source in sources() {
        let path = source.path.display().to_string();
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            continue;
        }
        let code = source.text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code.lines().count();
        assert!(lines <= LONGEST, "{path} has {lines} lines without its tests, at most {LONGEST}");
    }
}

/// Lines of a function's body beyond which its steps have names of their own.
const LONGEST_FUNCTION: usize = 60;

#[test]
fn a_function_is_no_longer_than_it_reads_well() {
    let mut found = Vec::new();
    for source in sources() {
        let path = source.path.display().to_string();
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            continue;
        }
        let code = code(&source.text);
        for (name, lines) in functions(&code) {
            if lines > LONGEST_FUNCTION {
                found.push(format!("{path}: {name} has {lines} lines"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The functions of formatted code, with how many lines that are not blank their bodies have.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| *word != "fn").collect();
        let named = line.split("fn ").nth(1).map(|rest| rest.split(['(', '<']).next().unwrap());
        let before = ["pub", "const", "async", "pub(super)", "pub(crate)", "pub(in", "crate::cli)"];
        let Some(name) = named.filter(|_| words.iter().all(|word| before.contains(word))) else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", &line[..indent]);
        let is_whole = |line: &str| line.ends_with('}') || line.ends_with(';');
        if is_whole(line) {
            continue;
        }
        // The rest of a signature that has more than one line is no body.
        let mut signature = !line.ends_with('{');
        let mut body = 0;
        for line in lines.by_ref().take_while(|line| *line != end) {
            if signature {
                let closes = line.len() - line.trim_start().len() == indent;
                if closes && is_whole(line) {
                    break;
                }
                signature = !(closes && line.ends_with('{'));
            } else {
                body += usize::from(!line.trim().is_empty());
            }
        }
        found.push((name.to_owned(), body));
    }
    found
}
