//! The values of settings and keys: one type for the language, typed fields for the rest of pen.

use super::keyword::Keyword;
use crate::core::addr::{Endpoint, Host, ListenAddress};
use crate::core::affinity::ClientMask;
use crate::core::lexer;
use crate::core::log_target::LogTarget;
use crate::core::sni_route::{SniRoute, SniRouteList};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A value as a command carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Unset.
    None,
    /// A switch.
    Switch(bool),
    /// A whole number.
    Number(u64),
    /// A time.
    Seconds(Duration),
    /// One of the allowed words.
    Word(&'static str),
    /// Several of the allowed words.
    Words(Vec<&'static str>),
    /// Names of files, in the order in which they were given.
    Paths(Vec<String>),
    /// A name, a path or another text without escapes.
    Text(String),
    /// Bytes, written with escapes.
    Bytes(Vec<u8>),
    /// How many leading bits of an address identify a client: two words.
    Mask(ClientMask),
    /// Server names with their servers, in the order in which they were given: several words each.
    SniRoutes(Vec<SniRoute>),
    /// An IP address.
    Ip(IpAddr),
    /// A host without a port.
    Host(Host),
    /// A host and its port.
    Endpoint(Endpoint),
    /// An address to listen on.
    Listen(ListenAddress),
    /// The destination of log lines.
    Log(LogTarget),
}

impl Value {
    /// The value as one word of a command line (two for a mask), quoted where necessary; empty if it has none.
    pub fn word(&self) -> String {
        match self {
            Value::Bytes(bytes) => lexer::escape(bytes),
            Value::Mask(mask) => mask.to_string(),
            Value::SniRoutes(_) => self.to_string(),
            other => lexer::quote(&other.to_string()),
        }
    }
}

impl fmt::Display for Value {
    /// The value as a reply shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => Ok(()),
            Value::Switch(on) => f.write_str(if *on { "on" } else { "off" }),
            Value::Number(n) => n.fmt(f),
            Value::Seconds(time) => seconds(*time, f),
            Value::Word(word) => f.write_str(word),
            Value::Words(words) => f.write_str(&words.join(" ")),
            Value::Paths(paths) => f.write_str(&paths.join(" ")),
            Value::Text(text) => f.write_str(text),
            Value::Bytes(bytes) => f.write_str(&lexer::escape(bytes)),
            Value::Mask(mask) => mask.fmt(f),
            Value::SniRoutes(routes) => {
                let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
                f.write_str(&routes.join(", "))
            }
            Value::Ip(ip) => ip.fmt(f),
            Value::Host(host) => host.fmt(f),
            Value::Endpoint(endpoint) => endpoint.fmt(f),
            Value::Listen(address) => address.fmt(f),
            Value::Log(target) => target.fmt(f),
        }
    }
}

/// Seconds with as many decimal places as needed, at most three.
fn seconds(time: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match time.subsec_millis() {
        0 => write!(f, "{}", time.as_secs()),
        millis => f.write_str(format!("{}.{millis:03}", time.as_secs()).trim_end_matches('0')),
    }
}

/// A type that a field of a table may have.
pub trait FieldType {
    /// The field as a value.
    fn value(&self) -> Value;

    /// Sets the field. A value of another type changes nothing: the kinds of a table's rows match its fields, as a test
    /// of each table shows.
    fn assign(&mut self, value: &Value);
}

/// A [`FieldType`] that one variant of [`Value`] holds.
macro_rules! field {
    ($type:ty: $variant:ident) => {
        impl FieldType for $type {
            fn value(&self) -> Value {
                Value::$variant(self.clone())
            }

            fn assign(&mut self, value: &Value) {
                if let Value::$variant(value) = value {
                    *self = value.clone();
                }
            }
        }
    };
    (optional $type:ty: $variant:ident) => {
        impl FieldType for Option<$type> {
            fn value(&self) -> Value {
                self.clone().map_or(Value::None, Value::$variant)
            }

            fn assign(&mut self, value: &Value) {
                match value {
                    Value::$variant(value) => *self = Some(value.clone()),
                    Value::None => *self = None,
                    _ => {}
                }
            }
        }
    };
    (number $type:ty) => {
        impl FieldType for $type {
            fn value(&self) -> Value {
                Value::Number(u64::try_from(*self).unwrap_or(u64::MAX))
            }

            fn assign(&mut self, value: &Value) {
                if let Value::Number(n) = value {
                    *self = <$type>::try_from(*n).unwrap_or(<$type>::MAX);
                }
            }
        }
    };
}

field!(bool: Switch);
field!(ClientMask: Mask);
field!(number u16);
field!(number u32);
field!(number usize);

impl FieldType for Option<usize> {
    fn value(&self) -> Value {
        self.map_or(Value::None, |n| n.value())
    }

    fn assign(&mut self, value: &Value) {
        let mut number = 0;
        number.assign(value);
        *self = matches!(value, Value::Number(_)).then_some(number);
    }
}

field!(Duration: Seconds);
field!(Vec<u8>: Bytes);
field!(optional IpAddr: Ip);
field!(optional Host: Host);
field!(optional Endpoint: Endpoint);
field!(optional ListenAddress: Listen);
field!(optional LogTarget: Log);
field!(optional String: Text);

impl FieldType for String {
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn assign(&mut self, value: &Value) {
        if let Value::Text(text) = value {
            self.clone_from(text);
        }
    }
}

impl FieldType for Option<PathBuf> {
    fn value(&self) -> Value {
        // The path was made from text, as every value is.
        self.as_ref().map_or(Value::None, |path| Value::Text(path.to_string_lossy().into_owned()))
    }

    fn assign(&mut self, value: &Value) {
        match value {
            Value::Text(path) => *self = Some(path.into()),
            Value::None => *self = None,
            _ => {}
        }
    }
}

impl FieldType for Vec<PathBuf> {
    fn value(&self) -> Value {
        // Made of text, as every value is.
        Value::Paths(self.iter().map(|path| path.to_string_lossy().into_owned()).collect())
    }

    /// Adds the files to those that are there, of which none is left when they are unset.
    fn assign(&mut self, value: &Value) {
        match value {
            Value::Paths(paths) => {
                for path in paths.iter().map(PathBuf::from) {
                    if !self.contains(&path) {
                        self.push(path);
                    }
                }
            }
            Value::None => self.clear(),
            _ => {}
        }
    }
}

impl FieldType for SniRouteList {
    fn value(&self) -> Value {
        Value::SniRoutes(self.to_vec())
    }

    /// Adds the routes to those that are there, of which none is left when they are unset. One of the same pattern is replaced.
    fn assign(&mut self, value: &Value) {
        match value {
            Value::SniRoutes(routes) => routes.iter().for_each(|route| self.add(route)),
            Value::None => self.clear(),
            _ => {}
        }
    }
}

impl<T: Keyword> FieldType for T {
    fn value(&self) -> Value {
        Value::Word(self.word())
    }

    fn assign(&mut self, value: &Value) {
        if let Value::Word(word) = value
            && let Some(keyword) = T::by_word(word)
        {
            *self = keyword;
        }
    }
}

impl<T: Keyword> FieldType for Option<T> {
    fn value(&self) -> Value {
        self.map_or(Value::None, |keyword| Value::Word(keyword.word()))
    }

    fn assign(&mut self, value: &Value) {
        match value {
            Value::Word(word) => *self = T::by_word(word),
            Value::None => *self = None,
            _ => {}
        }
    }
}

impl<T: Keyword + Ord> FieldType for BTreeSet<T> {
    fn value(&self) -> Value {
        Value::Words(self.iter().map(|keyword| keyword.word()).collect())
    }

    /// Adds the words to the present ones; unsetting removes all.
    fn assign(&mut self, value: &Value) {
        match value {
            Value::Words(words) => self.extend(words.iter().filter_map(|word| T::by_word(word))),
            Value::None => self.clear(),
            _ => {}
        }
    }
}
