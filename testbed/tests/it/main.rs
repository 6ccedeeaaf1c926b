//! The stand-ins, tried in the sandbox with a toy package and a toy service.

mod pkg;
mod support;
