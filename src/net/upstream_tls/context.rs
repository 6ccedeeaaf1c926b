//! An OpenSSL context for one worker, with its sessions.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslOptions, SslVerifyMode};

use crate::core::addr::Host;
use crate::core::alpn;
use crate::core::tls_peer::TlsPeer;
use crate::core::upstream_tls::UpstreamTlsSettings;
use crate::net::tls::identity::{Authorities, Identity};
use crate::net::tls::protocols;
use crate::net::tls::settings::Oldest;
use crate::sys::tls::made_once;
use crate::sys::tls_client::keep_sessions;

use super::sessions::UpstreamSessionCache;

/// A context with its sessions.
#[derive(Debug)]
pub(super) struct Context {
    context: SslContext,
    sessions: Arc<UpstreamSessionCache>,
}

impl Context {
    /// Makes a context.
    ///
    /// # Errors
    /// An error of OpenSSL.
    pub(super) fn new(
        settings: &UpstreamTlsSettings,
        identity: Option<&Identity>,
        authorities: &Authorities,
    ) -> Result<Self, ErrorStack> {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        protocols::for_relay(&mut context);
        let oldest = Oldest::towards_servers(settings.protocol);
        protocols::limit(&mut context, SslOptions::empty(), oldest, settings.ciphers.as_deref())?;
        context.set_cert_store(authorities.store()?);
        if let Some(identity) = identity {
            identity.use_in(&mut context, false)?;
        }
        let sessions = Arc::<UpstreamSessionCache>::default();
        let kept = Arc::clone(&sessions);
        let index = peer_index()?;
        keep_sessions(&mut context, move |ssl, session| {
            if let Some(peer) = ssl.ex_data(index) {
                kept.keep(peer, session);
            }
        });
        Ok(Context { context: context.build(), sessions })
    }

    /// The state of a new connection to a server, before its handshake.
    ///
    /// # Errors
    /// OpenSSL has no memory, or rejects the name.
    pub(super) fn new_ssl(&self, peer: &Arc<TlsPeer>, alpn: Option<&[u8]>) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        match &peer.name {
            Some(Host::Name(name)) => {
                let name = name.trim_end_matches('.');
                ssl.set_hostname(name)?;
                ssl.param_mut().set_host(name)?;
            }
            Some(Host::Ip(ip)) => ssl.param_mut().set_ip(plain(*ip))?,
            Some(Host::Unix(_)) | None => {}
        }
        if let Some(alpn) = alpn {
            ssl.set_alpn_protos(&alpn::wire([alpn]))?;
        }
        ssl.set_verify(if peer.verify { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
        if let Some(session) = self.sessions.find(peer) {
            session.offer(&mut ssl)?;
        }
        ssl.set_ex_data(peer_index()?, Arc::clone(peer));
        Ok(ssl)
    }
}

/// An IPv4-mapped address as IPv4.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The index under which a connection stores its peer, for the sessions that the server issues.
fn peer_index() -> Result<Index<Ssl, Arc<TlsPeer>>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Arc<TlsPeer>>> = OnceLock::new();
    made_once(&INDEX, Ssl::new_ex_index)
}
