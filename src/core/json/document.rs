//! The names of the documents.

use crate::core::settings::Keyword;
use crate::core::settings::keyword::keywords;

keywords! {
    /// A document that can be asked for by name.
    Document {
        /// The checks of servers.
        Checks = "checks",
        /// The clients in the affinity table.
        Clients = "clients",
        /// The configuration.
        Config = "config",
        /// The connections.
        Connections = "connections",
        /// The servers, emergency and abuse server included.
        Servers = "servers",
        /// The program and its process.
        Version = "version",
    }
}
