//! Files of YAML and JSON, document by document: what cannot be read hides nothing else.
//!
//! Bounded: size, documents, depth, aliases. An error names file, line and column, and repeats
//! nothing of the file, since it may hold secrets.

use std::borrow::Cow;

use serde_saphyr::MessageFormatter;

use super::document::Tree;
use super::place::{InputError, Position};

/// Documents in one file.
const MAX_DOCUMENTS: usize = 100_000;
/// How deep a document may be nested.
const MAX_DEPTH: usize = 120;
/// The stack for reading them, which is used only as far as documents are nested.
const STACK: usize = 64 << 20;
/// What aliases may expand to in one document.
const MAX_REPLAYED: usize = 50_000;
/// What some editors put in front of a file, and what is left of it where files are put together.
const BOM: &[u8] = "\u{feff}".as_bytes();
/// How templates begin what they put in.
const TEMPLATE: &[u8] = b"{{";

/// Why a document could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) error: InputError,
    /// Whether it looks like a template that nobody has rendered.
    pub(crate) is_template: bool,
}

/// What is made of each document.
type Each<'e> = &'e mut (dyn FnMut(Result<Tree, Unreadable>) + Send);

/// Reads every document of a file; empty ones are left out. In a thread of its own, since nested
/// values need a deep stack.
pub(crate) fn documents(file: &str, content: &[u8], each: Each<'_>) {
    let read = || {
        let content = decoded(content);
        let mut reader = StreamReader { file, count: 0, each: &mut *each };
        for chunk in chunks(&content) {
            if reader.count > MAX_DOCUMENTS {
                return;
            }
            reader.chunk(&chunk);
        }
    };
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read);
        thread.is_ok_and(|thread| thread.join().is_ok())
    });
    if !done {
        let error = InputError::new(file, Position::UNKNOWN, "it could not be read");
        each(Err(Unreadable { error, is_template: false }));
    }
}

/// UTF-16 with its mark in front, as some shells write it, as UTF-8.
fn decoded(content: &[u8]) -> Cow<'_, [u8]> {
    let unit: fn([u8; 2]) -> u16 = match content {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return Cow::Borrowed(content),
    };
    let (pairs, _) = content.as_chunks::<2>();
    let text: String = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    Cow::Owned(text.into_bytes())
}

/// What stands between two separators.
struct Chunk<'c> {
    text: &'c [u8],
    /// The lines above it.
    above: u32,
}

/// Cuts at the lines that begin or end a document wherever they stand (`---` and `...`). Chunks
/// without content are left out.
fn chunks(content: &[u8]) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut above) = (0, 0);
    let (mut at, mut line_number) = (0, 0);
    let mut cut = |from: usize, to: usize, above: u32| {
        let text = content.get(from..to).unwrap_or_default();
        if has_content(text) {
            chunks.push(Chunk { text, above });
        }
    };
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let end = at + line.len();
        if is_marker(line, b"---") {
            cut(start, at, above);
            // A document may begin on the line itself.
            let rest = without_bom(line).get(3..).unwrap_or_default();
            let alone = !has_content(rest);
            (start, above) = if alone { (end, line_number + 1) } else { (at, line_number) };
        } else if is_marker(line, b"...") {
            cut(start, at, above);
            (start, above) = (end, line_number + 1);
        }
        at = end;
        line_number += 1;
    }
    cut(start, content.len(), above);
    chunks
}

fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(BOM).unwrap_or(text)
}

fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    without_bom(line)
        .strip_prefix(marker)
        .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether there is more than blanks, comments and directives.
fn has_content(text: &[u8]) -> bool {
    without_bom(text).split(|byte| *byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b"%")
    })
}

struct StreamReader<'a, 'e> {
    file: &'a str,
    count: usize,
    each: Each<'e>,
}

impl StreamReader<'_, '_> {
    /// As kubectl decides: what begins with a brace is JSON. What then is none may still be YAML in
    /// flow style.
    fn chunk(&mut self, chunk: &Chunk<'_>) {
        let text = without_bom(chunk.text);
        let json = text.strip_prefix(b"---").unwrap_or(text);
        if json.trim_ascii_start().first() == Some(&b'{') {
            self.json(json, chunk);
        } else {
            self.yaml(text, chunk.above);
        }
    }

    fn json(&mut self, text: &[u8], chunk: &Chunk<'_>) {
        let (mut rest, mut above) = (text, chunk.above);
        let mut first = true;
        loop {
            let mut stream = serde_json::Deserializer::from_slice(rest).into_iter::<Tree>();
            let (mut counted, mut lines) = (0, above);
            let start = loop {
                let blank = rest.get(stream.byte_offset()..).unwrap_or_default();
                let start = rest.len() - blank.trim_ascii_start().len();
                lines += newlines(rest.get(counted..start).unwrap_or_default());
                counted = start;
                match stream.next() {
                    None => return,
                    Some(Ok(mut tree)) => {
                        first = false;
                        tree.at = Position { line: lines + 1, column: 0 };
                        if !self.give(tree) {
                            return;
                        }
                    }
                    Some(Err(_)) if first && is_yaml(text) => return self.yaml(text, chunk.above),
                    Some(Err(error)) => {
                        first = false;
                        let line = u64::from(above) + error.line() as u64;
                        let at = Position::new(line, error.column() as u64);
                        let near = rest.get(start..).unwrap_or_default();
                        self.fail(at, "this is not JSON here".to_owned(), is_template(near, 1));
                        break start;
                    }
                }
            };
            // The next object that begins on a line of its own may be whole.
            let left = rest.get(start..).unwrap_or_default();
            let Some(next) = left.windows(2).position(|pair| pair == b"\n{") else { return };
            let next = start + next + 1;
            above += newlines(rest.get(..next).unwrap_or_default());
            rest = rest.get(next..).unwrap_or_default();
        }
    }

    fn yaml(&mut self, text: &[u8], above: u32) {
        let mut content = text;
        for document in read_yaml(&mut content) {
            match document {
                Ok(mut tree) => {
                    tree.shift(above);
                    if !self.give(tree) {
                        return;
                    }
                }
                Err(error) => {
                    let error = error.without_snippet();
                    let at = error.location().map_or(Position::UNKNOWN, |place| {
                        Position::new(place.line(), place.column())
                    });
                    let said = serde_saphyr::UserMessageFormatter.format_message(error);
                    let said: String = crate::text::clean(&said).chars().take(200).collect();
                    let is_template = is_template(text, at.line);
                    let line = if at.line > 0 { at.line + above } else { 0 };
                    let problem = format!("this is not YAML: {said}");
                    self.fail(Position { line, ..at }, problem, is_template);
                    return;
                }
            }
        }
    }

    /// Hands a document on; false where that was one too many.
    fn give(&mut self, tree: Tree) -> bool {
        self.count += 1;
        if self.count > MAX_DOCUMENTS {
            let problem = format!("more than {MAX_DOCUMENTS} documents in one file");
            self.fail(tree.at.line_alone(), problem, false);
            return false;
        }
        (self.each)(Ok(tree));
        true
    }

    fn fail(&mut self, at: Position, problem: String, is_template: bool) {
        self.count += 1;
        let error = InputError::new(self.file, at, problem);
        (self.each)(Err(Unreadable { error, is_template }));
    }
}

fn newlines(content: &[u8]) -> u32 {
    content.iter().fold(0, |count, byte| count + u32::from(*byte == b'\n'))
}

fn is_yaml(text: &[u8]) -> bool {
    let mut content = text;
    read_yaml(&mut content).all(|document| document.is_ok())
}

fn read_yaml<'t, 'c>(
    content: &'t mut &'c [u8],
) -> impl Iterator<Item = Result<Tree, serde_saphyr::Error>> + use<'t, 'c> {
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
    serde_saphyr::read_with_options::<_, Tree>(content, options)
}

/// Whether a line of it is one that a template begins or ends something with, or the line of an
/// error, or one next to it, has the braces of a template.
fn is_template(text: &[u8], line: u32) -> bool {
    let skip = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(3);
    let lines = || text.split(|byte| *byte == b'\n');
    lines().any(|line| line.trim_ascii_start().starts_with(TEMPLATE))
        || lines().skip(skip).take(4).any(|line| line.windows(2).any(|pair| pair == TEMPLATE))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// What could be read, and what could not.
    fn read_all(content: &[u8]) -> (Vec<Tree>, Vec<Unreadable>) {
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        documents("f", content, &mut |result| match result {
            Ok(tree) => found.push(tree),
            Err(fault) => faults.push(fault),
        });
        (found, faults)
    }

    fn read(content: &str) -> Result<Vec<Tree>, InputError> {
        let (found, faults) = read_all(content.as_bytes());
        faults.into_iter().next().map_or(Ok(found), |fault| Err(fault.error))
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
    #[case("{\"a\": 1, b: two}\n", r#"1 {"a":1,"b":"two"}"#)]
    #[case(
        "---\n{\"a\": 1}\n---\n{\"b\": 2}\n{\"c\": 3}\n",
        r#"2 {"a":1} | 4 {"b":2} | 5 {"c":3}"#
    )]
    #[case("--- {\"a\": 1}\n--- # words\nb: 2\n", r#"1 {"a":1} | 3 {"b":2}"#)]
    #[case("%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb: 2\n", r#"3 {"a":1} | 7 {"b":2}"#)]
    #[case(
        "a: |\n  x\n  ---\n  y\n---\nb: '--- z'\n",
        r#"1 {"a":"x\n---\ny\n"} | 6 {"b":"--- z"}"#
    )]
    #[case("\u{feff}{\"a\": 1}\r\n\u{feff}---\r\n\u{feff}b: 2\r\n", r#"1 {"a":1} | 3 {"b":2}"#)]
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
    #[case("{\"a\": 1}\n{\"a\": \n", "f:3")]
    #[case("a: *nobody\n", "f:1")]
    #[case("a:\n\t- b\n", "f:2")]
    #[case("a: 1\n---\nb: [\n", "f:3")]
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
        let (found, faults) = read_all(&b"{}".repeat(MAX_DOCUMENTS + 1));
        assert_eq!((found.len(), faults.len()), (MAX_DOCUMENTS, 1));
        assert!(faults[0].error.problem.contains("more than 100000 documents"), "{faults:?}");
        let (_, faults) = read_all("a: [\n---\n".repeat(MAX_DOCUMENTS + 9).as_bytes());
        assert!(faults.len() <= MAX_DOCUMENTS + 1);
    }

    #[rstest::rstest]
    #[case("a: 1\n---\nb: [\n---\nc: 3\n", "1 5", "3")]
    #[case("{\"a\": 1}\n{\"b\": }\n{\"c\": 3}\n", "1 3", "2")]
    #[case("{\"a\": 1\n---\n{\"b\": 2}\n", "3", "2")]
    #[case("a: ]\n---\na: *nobody\n---\nc: 1\n", "5", "1 3")]
    fn what_cannot_be_read_hides_nothing(
        #[case] content: &str,
        #[case] found: &str,
        #[case] lost: &str,
    ) {
        let (trees, faults) = read_all(content.as_bytes());
        let shown =
            |lines: Vec<u32>| lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(trees.iter().map(|tree| tree.at.line).collect()), found);
        let at = |fault: &Unreadable| fault.error.at.line;
        assert_eq!(shown(faults.iter().map(at).collect()), lost, "{faults:?}");
    }

    #[rstest::rstest]
    #[case("a: 1\n---\nimage: {{ .Values.image }}\n", true)]
    #[case("{{- if .Values.on }}\nkind: Pod\n{{- end }}\n", true)]
    #[case("kind: Pod\nspec:\n  a:\n  b:\n  c:\n  {{- range .x }}\n  d: [\n\n\n\n\n", true)]
    #[case("text: '{{ $value }}'\na:\nb:\nc:\nd:\ne: [\n", false)]
    fn templates_are_known(#[case] content: &str, #[case] is_template: bool) {
        let (_, faults) = read_all(content.as_bytes());
        assert!(!faults.is_empty());
        assert_eq!(faults.iter().any(|fault| fault.is_template), is_template, "{faults:?}");
    }

    #[test]
    fn what_a_shell_writes_as_utf_16_is_read() {
        let text = "\u{feff}a: \u{e4}\r\n---\r\nb: 1\r\n";
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let content: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            let (found, faults) = read_all(&content);
            assert!(faults.is_empty(), "{faults:?}");
            assert_eq!(found[0].text_of("a"), "\u{e4}");
            assert_eq!(found[1].at.line, 3);
        }
    }

    #[test]
    fn errors_repeat_nothing_of_the_file() {
        let error = read("stringData:\n  password: hidden-word\n bad: [hidden-word\n").unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}
