//! Takes a TOML document apart with the place of every value, so that a fault names its line: the file,
//! the line, the field.
//!
//! Not by serde's derive: that knows neither the path of a fault nor the order of tables, which
//! decides between hosts; values are text or lists of it, and CRI-O knows its keys in any case.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A document and its name.
pub(super) struct Document<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

/// A table of a document, with its dotted path.
#[derive(Clone)]
pub(super) struct Section<'d, 'a> {
    document: &'d Document<'a>,
    table: &'d DeTable<'a>,
    path: String,
}

/// A value of a document, with its dotted path.
#[derive(Clone)]
pub(super) struct Field<'d, 'a> {
    document: &'d Document<'a>,
    value: &'d Spanned<DeValue<'a>>,
    path: String,
}

impl<'a> Document<'a> {
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'a>>, MirrorError> {
        DeTable::parse(self.text).map_err(|error| {
            let fault = MirrorFault::Syntax(error.message().into());
            self.fault(error.span().unwrap_or_default(), "-", fault)
        })
    }

    pub(super) fn section<'d>(&'d self, table: &'d DeTable<'a>) -> Section<'d, 'a> {
        Section { document: self, table, path: String::new() }
    }

    fn fault(&self, span: Range<usize>, field: &str, fault: MirrorFault) -> MirrorError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        MirrorError {
            file: self.file.into(),
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            field: field.into(),
            fault,
        }
    }
}

impl<'d, 'a> Section<'d, 'a> {
    pub(super) fn get(&self, name: &str) -> Option<Field<'d, 'a>> {
        let value = self.table.get(name)?;
        Some(Field { document: self.document, value, path: join(&self.path, name) })
    }

    /// The same for readers that do not tell upper and lower case of field names apart.
    pub(super) fn get_any_case(&self, name: &str) -> Option<Field<'d, 'a>> {
        let other = || self.in_order().into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        self.get(name).or_else(|| Some(other()?.1))
    }

    pub(super) fn flag_any_case(&self, name: &str) -> Result<bool, MirrorError> {
        self.get_any_case(name).map_or(Ok(false), |field| field.flag())
    }

    /// All fields in the order of the file.
    pub(super) fn in_order(&self) -> Vec<(&'d str, Field<'d, 'a>)> {
        let mut all: Vec<(&'d Spanned<DeString<'a>>, &'d Spanned<DeValue<'a>>)> =
            self.table.iter().collect();
        all.sort_by_key(|(name, _)| name.span().start);
        all.into_iter()
            .map(|(name, value)| {
                let name: &'d str = name.get_ref();
                (name, Field { document: self.document, value, path: join(&self.path, name) })
            })
            .collect()
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, MirrorError> {
        self.get(name).map_or(Ok(false), |field| field.flag())
    }
}

impl<'d, 'a> Field<'d, 'a> {
    pub(super) fn fault(&self, fault: MirrorFault) -> MirrorError {
        self.document.fault(self.value.span(), &self.path, fault)
    }

    pub(super) fn text(&self) -> Result<&'d str, MirrorError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.fault(MirrorFault::Kind("a string"))),
        }
    }

    pub(super) fn flag(&self) -> Result<bool, MirrorError> {
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(self.fault(MirrorFault::Kind("true or false"))),
        }
    }

    pub(super) fn section(&self) -> Result<Section<'d, 'a>, MirrorError> {
        match self.value.get_ref() {
            DeValue::Table(table) => {
                Ok(Section { document: self.document, table, path: self.path.clone() })
            }
            _ => Err(self.fault(MirrorFault::Kind("a table"))),
        }
    }

    /// The elements of a list; nothing for another kind.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.value.get_ref() else { return None };
        let element = |(at, value)| Field {
            document: self.document,
            value,
            path: format!("{}[{at}]", self.path),
        };
        Some(array.iter().enumerate().map(element).collect())
    }

    /// The elements of a list that must be one.
    pub(super) fn list(&self) -> Result<Vec<Self>, MirrorError> {
        self.elements().ok_or_else(|| self.fault(MirrorFault::Kind("a list")))
    }

    /// A string, or a list of strings.
    pub(super) fn texts(&self) -> Result<Vec<&'d str>, MirrorError> {
        match self.elements() {
            Some(elements) => elements.iter().map(Self::text).collect(),
            None => Ok(vec![self.text()?]),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    let name = if name.contains(['.', '/', ':']) { format!("{name:?}") } else { name.to_owned() };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// A fault in a mirror configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {field}: {fault}")]
pub struct MirrorError {
    /// The file, as it was named to us.
    pub file: Box<str>,
    /// The line, from 1.
    pub line: usize,
    /// The field, as a dotted path; `-` for the document itself.
    pub field: Box<str>,
    /// What is wrong.
    pub fault: MirrorFault,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorFault {
    /// The document cannot be read at all; the text is the parser's.
    #[error("{0}")]
    Syntax(Box<str>),
    /// The value is of another kind than the field's.
    #[error("must be {0}")]
    Kind(&'static str),
    /// The value is no address of a registry.
    #[error("must be an http or https address")]
    Address,
    /// containerd knows no such capability and refuses the file.
    #[error("must be pull, resolve, push or referrers")]
    Capability,
    /// CRI-O knows no such value and refuses the file.
    #[error("must be all, digest-only or tag-only")]
    PullFromMirror,
    /// The regular expression cannot be compiled.
    #[error("is no regular expression that is understood here")]
    Expression,
    /// CRI-O refuses the file for this.
    #[error("{0}, else CRI-O refuses the file")]
    CriO(&'static str),
    /// A rule that names neither a prefix nor a location.
    #[error("needs a prefix or a location")]
    Incomplete,
}
