//! Reports on the state of pen: one model, and the texts made from it.
//!
//! The JSON documents, the metrics, the status page and the replies show rows of [`model`]; none of them accesses a
//! server or a connection itself.

pub mod html;
pub mod model;
pub mod pieces;
pub mod replies;
pub mod text;
