//! Actions per cause: a map whose keys are the words of [`Cause`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::value::{Action, did_you_mean, shown};
use crate::pull::Cause;

/// What is done about a cause; what is not named is denied where a denial is possible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CauseActions(BTreeMap<CauseWord, Action>);

impl CauseActions {
    /// The action for this cause, if one is given.
    pub fn get(&self, cause: Cause) -> Option<Action> {
        self.0.get(&CauseWord(cause)).copied()
    }

    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Cause, Action)> for CauseActions {
    fn from_iter<I: IntoIterator<Item = (Cause, Action)>>(actions: I) -> Self {
        Self(actions.into_iter().map(|(cause, action)| (CauseWord(cause), action)).collect())
    }
}

/// A cause as documents write it; an unknown word is an error that names the nearest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CauseWord(pub Cause);

impl<'de> Deserialize<'de> for CauseWord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Cause::from_word(&word).map(Self).ok_or_else(|| {
            let words = Cause::ALL.iter().map(|cause| cause.as_str());
            D::Error::custom(format_args!(
                "{} is not a cause{}",
                shown(&word),
                did_you_mean(&word, words)
            ))
        })
    }
}

impl JsonSchema for CauseWord {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cause".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        json_schema!({ "type": "string", "enum": words })
    }
}

impl<'de> Deserialize<'de> for CauseActions {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Actions;
        impl<'de> Visitor<'de> for Actions {
            type Value = CauseActions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("actions by cause, such as tag_not_found: deny")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CauseActions, A::Error> {
                let mut actions = BTreeMap::new();
                while let Some((cause, action)) = map.next_entry()? {
                    actions.insert(cause, action);
                }
                Ok(CauseActions(actions))
            }
        }
        deserializer.deserialize_map(Actions)
    }
}

impl JsonSchema for CauseActions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CauseActions".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let action = generator.subschema_for::<Action>();
        let properties: serde_json::Map<String, serde_json::Value> = Cause::ALL
            .iter()
            .map(|cause| (cause.as_str().to_owned(), action.clone().to_value()))
            .collect();
        json_schema!({ "type": "object", "properties": properties })
    }
}
