//! Files of YAML and JSON: their documents, each value with its place in the file, and edits of a file
//! that leave everything else in it as it was.

mod document;
mod edit;
mod place;
mod stream;

pub(crate) use document::{Node, Tree};
pub(crate) use edit::{Edit, Edited, edit};
pub(crate) use place::{InputError, Place, Position};
pub(crate) use stream::documents;
