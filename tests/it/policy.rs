//! The policy: its documents, its rulings, its definition for the API server.

mod definition;
mod document;
mod never;
mod page;
mod ruling;
mod vouches;
