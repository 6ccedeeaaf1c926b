//! Which filter a connection has.

use std::sync::Arc;

use crate::core::http::{Forwarding, Rewriter};
use crate::core::snapshot::{Backend, Snapshot};
use crate::net::known_client::KnownClient;
use crate::weblog::LogHandle;

use super::StreamFilter;
use super::dump::Dump;
use super::http::Http;
use super::request_log::RequestLog;

/// What a filter is made of.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct Filters<'a> {
    /// The request log.
    pub(in crate::net) log: &'a LogHandle,
    /// The client.
    pub(in crate::net) client: &'a KnownClient,
    /// Its server.
    pub(in crate::net) backend: &'a Arc<Backend>,
}

impl Filters<'_> {
    fn requests(self) -> RequestLog {
        RequestLog::new(self.log.clone(), self.client.client, Arc::clone(self.backend))
    }

    /// Who looks at requests for the log alone, while there is one.
    pub(in crate::net) fn request_log(self) -> Option<Box<dyn StreamFilter + Send>> {
        self.log.is_on().then(|| Box::new(self.requests()) as _)
    }

    /// The filter that the configuration asks for, of a client that speaks TLS or does not, with a dump or without.
    pub(in crate::net) fn chosen(
        self,
        snapshot: &Snapshot,
        https: bool,
        dumps: bool,
    ) -> Option<Box<dyn StreamFilter + Send>> {
        let filter: Option<Box<dyn StreamFilter + Send>> = if snapshot.content.http {
            let forwarding = Forwarding {
                client: self.client.client.ip(),
                https,
                policy: snapshot.content.http_forwarded,
                rfc7239: snapshot.content.http_rfc7239,
            };
            Some(Box::new(Http::new(Rewriter::new(forwarding), self.requests(), self.client.name())))
        } else {
            self.request_log()
        };
        if !dumps {
            return filter;
        }
        let (client, backend) = (self.client.name(), Arc::clone(self.backend));
        Some(Box::new(Dump::new(filter, client, backend, snapshot.content.ascii)))
    }
}
