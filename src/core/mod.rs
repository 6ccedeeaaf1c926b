//! core

pub mod http;
