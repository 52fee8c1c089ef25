//! A document as a tree whose every value knows its place.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_saphyr::Spanned;

use super::place::Position;

/// A value with its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    pub(crate) at: Position,
    pub(crate) node: Node,
}

/// A value as JSON has them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
}

impl Tree {
    /// A member of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.node {
            Node::Map(map) => map.get(key).filter(|tree| tree.node != Node::Null),
            _ => None,
        }
    }

    /// Its text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a member, empty if there is none.
    pub(crate) fn text_of(&self, key: &str) -> &str {
        self.get(key).and_then(Self::text).unwrap_or_default()
    }

    /// The items of a list member.
    pub(crate) fn items_of(&self, key: &str) -> &[Self] {
        match self.get(key).map(|tree| &tree.node) {
            Some(Node::List(items)) => items,
            _ => &[],
        }
    }

    /// Moves everything down by so many lines.
    pub(crate) fn shift(&mut self, lines: u32) {
        if self.at.line > 0 {
            self.at.line += lines;
        }
        match &mut self.node {
            Node::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Node::Map(map) => map.values_mut().for_each(|member| member.shift(lines)),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => {}
        }
    }

    /// The place of the value at a JSON pointer, or of the nearest value above it.
    pub(crate) fn place_of(&self, pointer: &str) -> Position {
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
