//! The key by which an entry of pen and a web server's line are matched: a hash of the server and the request.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};
use std::net::IpAddr;

use ahash::{AHasher, RandomState};

/// A keyed hash of a request on a server. The secret is chosen when the program starts and appears nowhere, so that no
/// client can construct two requests with the same key; by chance, two of a million requests collide once in 30 million
/// runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestKey(u64);

/// Makes keys.
#[derive(Default)]
pub(super) struct KeyMaker(RandomState);

/// Makes the keys of requests on one server.
#[derive(Clone)]
pub(super) struct ServerKeys(AHasher);

impl KeyMaker {
    /// The key maker of a server.
    pub(super) fn server(&self, server: &ServerName<'_>) -> ServerKeys {
        let mut hasher = self.0.build_hasher();
        match server {
            ServerName::Ip(IpAddr::V4(ip)) => hasher.write_u32((*ip).into()),
            ServerName::Ip(IpAddr::V6(ip)) => hasher.write_u128((*ip).into()),
            ServerName::Other(name) => {
                hasher.write(name.as_bytes());
                hasher.write_u8(0xff);
            }
        }
        ServerKeys(hasher)
    }
}

impl ServerKeys {
    /// The key of a request in its normal form, see [`super::access_line::unescape`].
    pub(super) fn key(&self, request: &[u8]) -> RequestKey {
        let mut hasher = self.0.clone();
        hasher.write(request);
        RequestKey(hasher.finish())
    }
}

/// A web server as pen's log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ServerName<'a> {
    /// By its address; an IPv4-mapped IPv6 address is IPv4.
    Ip(IpAddr),
    /// By anything else, for example the path of a Unix-domain socket.
    Other(&'a str),
}

impl<'a> ServerName<'a> {
    /// Parses a server's name or address.
    pub(super) fn parse(text: &'a str) -> ServerName<'a> {
        text.parse::<IpAddr>().map_or(ServerName::Other(text), |ip| ServerName::Ip(ip.to_canonical()))
    }
}

/// A map by [`RequestKey`], which is a hash already and is not hashed again.
pub(super) type KeyMap<V> = HashMap<RequestKey, V, BuildHasherDefault<KeyHasher>>;

/// Uses a [`RequestKey`] as the hash.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.0 = self.0.rotate_left(8) ^ u64::from(b));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 ^= n;
    }
}
