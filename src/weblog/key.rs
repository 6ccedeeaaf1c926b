//! The key of a request on a server: what an entry of pen and a web server's line have in common.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::net::IpAddr;

/// 128 bits of two keyed hashes: equal for equal requests, and different, for all that anybody can arrange, for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64, u64);

/// Makes keys, with secrets of its own so that no client can make two requests collide.
#[derive(Default)]
pub struct Keys(RandomState, RandomState);

impl Keys {
    /// The key of a request, in the form of [`super::combined::unescape`], on a server.
    pub fn key(&self, server: &Server<'_>, request: &[u8]) -> Key {
        let of = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            match server {
                Server::Ip(IpAddr::V4(ip)) => hasher.write_u32((*ip).into()),
                Server::Ip(IpAddr::V6(ip)) => hasher.write_u128((*ip).into()),
                Server::Name(name) => {
                    hasher.write(name.as_bytes());
                    hasher.write_u8(0xff);
                }
            }
            hasher.write(request);
            hasher.finish()
        };
        Key(of(&self.0), of(&self.1))
    }
}

/// A web server as pen's log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server<'a> {
    /// By its address, IPv4 in IPv6 taken out.
    Ip(IpAddr),
    /// By anything else, such as the path of a Unix-domain socket.
    Name(&'a str),
}

impl<'a> Server<'a> {
    /// Reads a server's name or address.
    pub fn parse(text: &'a str) -> Server<'a> {
        text.parse::<IpAddr>().map_or(Server::Name(text), |ip| Server::Ip(ip.to_canonical()))
    }
}

/// A map by [`Key`], whose hash needs no hashing.
pub type KeyMap<V> = HashMap<Key, V, BuildHasherDefault<KeyHasher>>;

/// Takes the first half of a [`Key`] as it is.
#[derive(Default)]
pub struct KeyHasher(u64);

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
