//! `json version`: the program and its process.

use serde::Serialize;

/// The program and its process.
#[derive(Debug, Clone, Serialize)]
pub struct VersionDocument {
    /// When the document was made.
    pub time: String,
    /// `pen`
    pub name: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// The TLS library in use, with its version.
    pub tls_library: String,
    /// The operating system that the program was built for.
    pub system: &'static str,
    /// The processor that it was built for.
    pub architecture: &'static str,
    /// The process ID.
    pub pid: u32,
    /// When pen began to serve, as RFC 3339 has it.
    pub start_time: String,
    /// Since then.
    pub uptime_seconds: f64,
    /// The documents that there are.
    pub documents: &'static [&'static str],
}
