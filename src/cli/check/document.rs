//! Files of YAML and JSON as documents whose every value knows its line.
//!
//! Bounded: size, documents, depth, aliases. An error names file, line and column, and repeats
//! nothing of the file, since it may hold secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_saphyr::{MessageFormatter, Spanned};

use crate::cli::output::Position;

/// Documents in one file.
pub(super) const MAX_DOCUMENTS: usize = 100_000;
/// How deep a document may be nested.
const MAX_DEPTH: usize = 120;
/// The stack for reading them, which is used only as far as documents are nested.
const STACK: usize = 64 << 20;
/// What aliases may expand to in one document.
const MAX_REPLAYED: usize = 50_000;

/// Why a file could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", self.place())]
pub struct InputError {
    /// The file's name; `stdin` for `-`.
    pub file: Box<str>,
    /// Where in it.
    pub at: Position,
    /// What is wrong.
    pub problem: String,
}

impl InputError {
    pub(super) fn new(file: &str, at: Position, problem: impl Into<String>) -> Self {
        Self { file: file.into(), at, problem: problem.into() }
    }

    fn place(&self) -> String {
        match self.at {
            Position { line: 0, .. } => format!("{}: ", self.file),
            Position { line, column: 0 } => format!("{}:{line}: ", self.file),
            Position { line, column } => format!("{}:{line}:{column}: ", self.file),
        }
    }
}

/// A value with its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub(super) at: Position,
    pub(super) node: Node,
}

/// A value as JSON has them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
}

impl Tree {
    /// A member of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.node {
            Node::Map(map) => map.get(key).filter(|tree| tree.node != Node::Null),
            _ => None,
        }
    }

    /// Its text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a member, empty if there is none.
    pub(super) fn text_of(&self, key: &str) -> &str {
        self.get(key).and_then(Self::text).unwrap_or_default()
    }

    /// The items of a list member.
    pub(super) fn items_of(&self, key: &str) -> &[Self] {
        match self.get(key).map(|tree| &tree.node) {
            Some(Node::List(items)) => items,
            _ => &[],
        }
    }

    /// The place of the value at a JSON pointer, or of the nearest value above it.
    pub(super) fn place_of(&self, pointer: &str) -> Position {
        let mut tree = self;
        let mut at = self.at;
        for key in pointer.split('/').skip(1) {
            let next = match &tree.node {
                Node::List(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => tree.get(&key.replace("~1", "/").replace("~0", "~")),
            };
            let Some(next) = next else { break };
            tree = next;
            at = if tree.at.line > 0 { tree.at } else { at };
        }
        at
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.node {
            Node::Null => serializer.serialize_unit(),
            Node::Bool(value) => serializer.serialize_bool(*value),
            Node::Number(value) => value.serialize(serializer),
            Node::Text(value) => serializer.serialize_str(value),
            Node::List(items) => serializer.collect_seq(items),
            Node::Map(map) => serializer.collect_map(map),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Node>::deserialize(deserializer)?;
        let place = spanned.referenced;
        Ok(Self { at: Position::new(place.line(), place.column()), node: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Tree>()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    /// The last of equal keys counts, as with kubectl.
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<String, Tree>()? {
            map.insert(key, value);
        }
        Ok(Node::Map(map))
    }
}

/// Reads every document of a file; empty ones are left out. In a thread of its own, since nested
/// values need a deep stack.
pub(super) fn documents(
    file: &str,
    content: &[u8],
    mut each: impl FnMut(Tree) -> Result<(), InputError> + Send,
) -> Result<(), InputError> {
    let read = || {
        if looks_like_json(content) {
            json(file, content, &mut each)
        } else {
            yaml(file, content, &mut each)
        }
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, read)
            .map_err(|error| InputError::new(file, Position::UNKNOWN, error.to_string()))?
            .join()
            .unwrap_or_else(|_| {
                Err(InputError::new(file, Position::UNKNOWN, "it could not be read"))
            })
    })
}

/// As kubectl decides: what begins with a brace is JSON. What then is none may still be YAML in
/// flow style.
fn looks_like_json(content: &[u8]) -> bool {
    let first = content.iter().find(|byte| !byte.is_ascii_whitespace());
    first == Some(&b'{') && {
        let mut stream =
            serde_json::Deserializer::from_slice(content).into_iter::<serde::de::IgnoredAny>();
        matches!(stream.next(), Some(Ok(_)))
    }
}

fn json(
    file: &str,
    content: &[u8],
    each: &mut impl FnMut(Tree) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let mut stream = serde_json::Deserializer::from_slice(content).into_iter::<Tree>();
    let (mut count, mut line, mut counted) = (0, 1, 0);
    loop {
        let start = stream.byte_offset();
        let blank = content.get(start..).unwrap_or_default();
        let start = start + blank.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        line += newlines(content.get(counted..start).unwrap_or_default());
        counted = start;
        let mut document = match stream.next() {
            None => return Ok(()),
            Some(Ok(document)) => document,
            Some(Err(error)) => {
                let at = Position::new(error.line() as u64, error.column() as u64);
                return Err(InputError::new(file, at, "this is not JSON here"));
            }
        };
        count += 1;
        document.at = Position::new(line, 0);
        check_count(file, count, document.at)?;
        each(document)?;
    }
}

fn newlines(content: &[u8]) -> u64 {
    content.iter().fold(0, |count, byte| count + u64::from(*byte == b'\n'))
}

fn yaml(
    file: &str,
    mut content: &[u8],
    each: &mut impl FnMut(Tree) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let whole = content;
    let options = serde_saphyr::options! {
        with_snippet: false,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: None,
            max_events: 50_000_000,
            max_nodes: 50_000_000,
            max_depth: MAX_DEPTH,
            max_documents: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
    };
    for (index, document) in
        serde_saphyr::read_with_options::<_, Tree>(&mut content, options).enumerate()
    {
        let document = document.map_err(|error| yaml_error(file, whole, &error))?;
        check_count(file, index + 1, document.at)?;
        each(document)?;
    }
    Ok(())
}

fn check_count(file: &str, count: usize, at: Position) -> Result<(), InputError> {
    if count > MAX_DOCUMENTS {
        let problem = format!("more than {MAX_DOCUMENTS} documents in one file");
        return Err(InputError::new(file, at, problem));
    }
    Ok(())
}

fn yaml_error(file: &str, content: &[u8], error: &serde_saphyr::Error) -> InputError {
    let error = error.without_snippet();
    let at = error.location().map(|place| Position::new(place.line(), place.column()));
    let at = at.unwrap_or(Position::UNKNOWN);
    let said = serde_saphyr::UserMessageFormatter.format_message(error);
    let said: String = crate::text::clean(&said).chars().take(200).collect();
    let mut problem = format!("this is not YAML: {said}");
    if at.line > 0 && has_template(content, at.line) {
        problem.push_str(" (it looks like a template: render it first, as with `helm template`)");
    }
    InputError::new(file, at, problem)
}

/// Whether the line of an error, or one next to it, has the braces of a template.
fn has_template(content: &[u8], line: u32) -> bool {
    let skip = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(3);
    content
        .split(|byte| *byte == b'\n')
        .skip(skip)
        .take(4)
        .any(|line| line.windows(2).any(|pair| pair == b"{{"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn read(content: &str) -> Result<Vec<Tree>, InputError> {
        let mut found = Vec::new();
        documents("f", content.as_bytes(), |tree| {
            found.push(tree);
            Ok(())
        })?;
        Ok(found)
    }

    fn shown(content: &str) -> String {
        let trees = read(content).unwrap();
        let lines = trees
            .iter()
            .map(|tree| format!("{} {}", tree.at.line, serde_json::to_string(tree).unwrap()));
        lines.collect::<Vec<_>>().join(" | ")
    }

    #[rstest::rstest]
    #[case(
        "a: 1\n---\n---\n# only words\n---\nb: [x, 2.5, true, null]\n",
        r#"1 {"a":1} | 6 {"b":["x",2.5,true,null]}"#
    )]
    #[case(
        "{\"a\": 1}\n{\"a\": {\"b\": \"\\u003c\"}}\n\n {}",
        r#"1 {"a":1} | 2 {"a":{"b":"<"}} | 4 {}"#
    )]
    #[case("{a: 1, b: two}\n", r#"1 {"a":1,"b":"two"}"#)]
    #[case(
        "a: &x {n: 1}\nb: *x\nc:\n  <<: *x\n  m: 2\n",
        r#"1 {"a":{"n":1},"b":{"n":1},"c":{"m":2,"n":1}}"#
    )]
    #[case("a: 1\na: 2\n", r#"1 {"a":2}"#)]
    #[case("80: x\ntrue: z\n", r#"1 {"80":"x","true":"z"}"#)]
    #[case(
        "a: |\n  line\n  two\nb: .inf\nc: 99999999999999999999999\n",
        r#"1 {"a":"line\ntwo\n","b":".inf","c":1e+23}"#
    )]
    #[case("\u{feff}a: 1\r\nb: 2\r\n", r#"1 {"a":1,"b":2}"#)]
    #[case("", "")]
    fn reads_documents(#[case] content: &str, #[case] expected: &str) {
        assert_eq!(shown(content), expected);
    }

    #[test]
    fn every_value_knows_its_place() {
        let tree = read("spec:\n  containers:\n  - name: a\n    image: x\n").unwrap().remove(0);
        assert_eq!(tree.place_of("/spec/containers/0/image"), Position::new(4, 12));
        assert_eq!(tree.place_of("/spec/containers/7/image"), Position::new(3, 5));
        assert_eq!(tree.place_of(""), Position::new(1, 1));
    }

    #[rstest::rstest]
    #[case("a: 1\nb: [1\nc: 2\n", "f:3")]
    #[case("a: 1\n---\nimage: {{ .Values.image }}\n", "helm template")]
    #[case("{{- if .Values.on }}\nkind: Pod\n{{- end }}\n", "helm template")]
    #[case("{\"a\": 1}\n{\"a\": \n", "f:3")]
    #[case("a: *nobody\n", "f:1")]
    #[case("a:\n\t- b\n", "f:2")]
    fn errors_name_their_place(#[case] content: &str, #[case] words: &str) {
        let error = read(content).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    /// Lists of ten aliases to lists of ten aliases.
    fn alias_bomb() -> String {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let list = vec![format!("*a{}", n - 1); 10].join(", ");
            writeln!(bomb, "a{n}: &a{n} [{list}]").unwrap();
        }
        bomb
    }

    /// Each line within the one before it.
    fn staircase() -> String {
        (0..500).fold(String::new(), |stairs, n| stairs + &" ".repeat(n) + "a:\n")
    }

    #[rstest::rstest]
    #[case::aliases(alias_bomb())]
    #[case::yaml_nesting("[".repeat(100_000))]
    #[case::json_nesting("{\"a\":".repeat(100_000))]
    #[case::indentation(staircase())]
    fn bombs_are_refused(#[case] bomb: String) {
        assert!(read(&bomb).is_err());
    }

    #[test]
    fn documents_are_counted() {
        let error = json("f", &b"{}".repeat(MAX_DOCUMENTS + 1), &mut |_| Ok(())).unwrap_err();
        assert!(error.problem.contains("more than 100000 documents"), "{error}");
    }

    #[test]
    fn errors_repeat_nothing_of_the_file() {
        let error = read("stringData:\n  password: hidden-word\n bad: [hidden-word\n").unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}
