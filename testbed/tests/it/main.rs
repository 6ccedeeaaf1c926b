//! Tests of the stand-ins in the sandbox, with a toy package and a toy service.

#![allow(clippy::unwrap_used)] // A test may fail that way, and so may its helpers.

mod pkg;
mod sandbox;
mod smf;
mod support;
