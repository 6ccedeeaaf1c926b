//! The kinds of values of settings and keys: how a word is read, and what an error says was expected.

use super::value::Value;
use crate::core::Error;
use crate::core::acl::LISTS;
use crate::core::addr::{Endpoint, Host, ListenAddress, Services};
use crate::core::affinity::ClientMask;
use crate::core::lexer::Word;
use crate::core::log_target::LogTarget;
use crate::core::sni_route::SniRoute;
use std::time::Duration;

/// A kind of value, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// On or off: `word` and `no word` as a command, `on` and `off` after a key.
    Switch,
    /// A whole number.
    Number {
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
        /// The unit of the number.
        unit: &'static str,
    },
    /// A time in seconds.
    Seconds {
        /// The minimum.
        min: Duration,
        /// The maximum.
        max: Duration,
        /// Whether up to three decimal places are allowed.
        fractions: bool,
        /// The unit as errors name it, for example `seconds, 0 for never`.
        unit: &'static str,
    },
    /// The number of an access list, or -1 for none.
    ListOrNone,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Several of these words: each command adds one.
    Words(&'static [&'static str]),
    /// Text with its own parser; this is what an error calls it.
    Text(&'static str),
    /// A name chosen by the administrator: a letter, then letters, digits, `.`, `_` and `-`.
    Name,
    /// Bytes, with the escapes of [`Word::bytes`].
    Bytes,
    /// The name of a file or directory.
    Path,
    /// Names of files: each command adds one.
    Paths,
    /// How many leading bits of an address identify a client, for IPv4 and for IPv6: two words, or one with a blank.
    Mask,
    /// A server name or a pattern, and the servers for it: several words, or one with blanks.
    SniRoute,
    /// An IP address.
    Ip,
    /// A host.
    Host,
    /// A port; 0 is allowed.
    Port,
    /// A host and its port, or the path of a Unix socket.
    Endpoint,
    /// An address to listen on.
    Listen,
    /// A file, or the host and port of a penlogd.
    Log,
    /// Where the connection log goes.
    ConnectionLog,
}

/// The longest name that an administrator can choose.
const NAME_MAX: usize = 64;

/// The longest time that a setting takes, in seconds.
const SECONDS_MAX: u64 = i32::MAX as u64;

impl ValueKind {
    /// The number of an access list.
    pub const LIST: ValueKind =
        ValueKind::Number { min: 0, max: LISTS as u64 - 1, unit: "the number of a list" };

    /// Whole seconds of at least `min`; `unit` names them.
    pub const fn whole_seconds(min: u64, unit: &'static str) -> ValueKind {
        let (min, max) = (Duration::from_secs(min), Duration::from_secs(SECONDS_MAX));
        ValueKind::Seconds { min, max, fractions: false, unit }
    }

    /// Seconds with decimal places, at least `min`; `unit` names them.
    pub const fn seconds(min: u64, unit: &'static str) -> ValueKind {
        let (min, max) = (Duration::from_secs(min), Duration::from_secs(SECONDS_MAX));
        ValueKind::Seconds { min, max, fractions: true, unit }
    }

    /// Reads a word.
    ///
    /// # Errors
    /// The word, and what was expected.
    pub fn parse(self, word: &Word, services: &Services) -> Result<Value, Error> {
        if self == ValueKind::Bytes {
            return word.bytes().map(Value::Bytes);
        }
        let arg = &*word.text()?;
        let not = || Error::expected(self.expected(), arg);
        // The only possible fault of a path is its length.
        let address = |error: Error| if arg.contains('/') { error } else { not() };
        match self {
            ValueKind::Switch => match arg {
                "on" => Ok(Value::Switch(true)),
                "off" => Ok(Value::Switch(false)),
                _ => Err(not()),
            },
            ValueKind::Number { min, max, .. } => {
                let number = digits(arg).filter(|n| (min..=max).contains(n));
                number.map(Value::Number).ok_or_else(not)
            }
            ValueKind::Seconds { min, max, fractions, .. } => {
                let time = seconds(arg, fractions).filter(|time| (min..=max).contains(time));
                time.map(Value::Seconds).ok_or_else(not)
            }
            ValueKind::ListOrNone if arg == "-1" => Ok(Value::None),
            ValueKind::ListOrNone => ValueKind::LIST.parse(word, services).map_err(|_| not()),
            ValueKind::Word(words) => {
                words.iter().find(|w| **w == arg).map(|w| Value::Word(w)).ok_or_else(not)
            }
            ValueKind::Words(words) => {
                words.iter().find(|w| **w == arg).map(|w| Value::Words(vec![w])).ok_or_else(not)
            }
            ValueKind::Text(_) | ValueKind::Path | ValueKind::Paths if arg.is_empty() => Err(not()),
            ValueKind::Name if !is_name(arg) => Err(not()),
            ValueKind::Text(_) | ValueKind::Name | ValueKind::Path => Ok(Value::Text(arg.to_owned())),
            ValueKind::Paths => Ok(Value::Paths(vec![arg.to_owned()])),
            ValueKind::Bytes => Ok(Value::None),
            ValueKind::Mask => {
                let (v4, v6) = arg.split_once(' ').ok_or_else(not)?;
                ClientMask::parse(v4, v6.trim_start()).map(Value::Mask).ok_or_else(not)
            }
            ValueKind::SniRoute => {
                SniRoute::parse(arg).map(|route| Value::SniRoutes(vec![route])).ok_or_else(not)
            }
            ValueKind::Ip => arg.parse().map(Value::Ip).map_err(|_| not()),
            ValueKind::Host => Host::parse(arg).map(Value::Host),
            ValueKind::Port => services.port(arg).map(|port| Value::Number(port.into())).map_err(|_| not()),
            ValueKind::Endpoint => Endpoint::with_port(arg, services).map(Value::Endpoint).map_err(address),
            ValueKind::Listen => ListenAddress::parse(arg, services).map(Value::Listen).map_err(address),
            ValueKind::Log => LogTarget::parse(arg, services).map(Value::Log).map_err(address),
            ValueKind::ConnectionLog => {
                LogTarget::of_connections(arg, services).map(Value::Log).map_err(address)
            }
        }
    }

    /// The expected values, for errors.
    pub fn expected(self) -> String {
        match self {
            ValueKind::Switch => "on or off".into(),
            ValueKind::Number { min, max, unit } => format!("a number from {min} to {max} ({unit})"),
            ValueKind::Seconds { min, max, fractions, unit } => {
                let (min, max) = (Value::Seconds(min), Value::Seconds(max));
                let decimals = if fractions { ", with at most three decimals" } else { "" };
                format!("a number from {min} to {max} ({unit}{decimals})")
            }
            ValueKind::ListOrNone => format!("{}, or -1 for none", ValueKind::LIST.expected()),
            ValueKind::Word(words) | ValueKind::Words(words) => one_of(words),
            ValueKind::Text(what) => what.into(),
            ValueKind::Name => {
                format!("a name of at most {NAME_MAX} letters, digits, '.', '_' and '-', the first a letter")
            }
            ValueKind::Bytes => "a text, with \\r, \\n, \\t, \\\", \\\\ and \\xHH".into(),
            ValueKind::Path => "the name of a file or directory".into(),
            ValueKind::Paths => "the name of a file".into(),
            ValueKind::Mask => "two numbers, of bits of IPv4 (0 to 32) and of IPv6 (0 to 128)".into(),
            ValueKind::SniRoute => SniRoute::FORM.into(),
            ValueKind::Ip => "an IP address".into(),
            ValueKind::Host => "an IP address, a host name or a path with a /".into(),
            ValueKind::Port => "a number from 0 to 65535 or a service name".into(),
            ValueKind::Endpoint => "host:port or the path of a Unix socket".into(),
            ValueKind::Listen => "[host:]port or the path of a Unix socket".into(),
            ValueKind::Log => "the name of a file, or host:port of a penlogd".into(),
            ValueKind::ConnectionLog => LogTarget::CONNECTIONS.into(),
        }
    }

    /// The placeholder for the value in a line of help.
    pub fn placeholder(self) -> String {
        match self {
            ValueKind::Number { .. } | ValueKind::Seconds { .. } | ValueKind::ListOrNone => "N".into(),
            ValueKind::Switch => "on|off".into(),
            // A longer list would not fit on a line of a terminal; the help says what there is.
            ValueKind::Word(words) if words.len() <= 8 => words.join("|"),
            ValueKind::Word(_) | ValueKind::Words(_) => "WORD".into(),
            ValueKind::Mask => "V4 V6".into(),
            ValueKind::SniRoute => "HOST SERVER...".into(),
            ValueKind::Name => "NAME".into(),
            _ => "TEXT".into(),
        }
    }
}

/// A list of words in a sentence.
fn one_of(words: &[&str]) -> String {
    match words {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        words => words.concat(),
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn seconds(text: &str, fractions: bool) -> Option<Duration> {
    let (whole, decimals) = match text.split_once('.') {
        Some((whole, decimals)) if fractions && (1..=3).contains(&decimals.len()) => (whole, decimals),
        Some(_) => return None,
        None => (text, "0"),
    };
    let millis = digits(decimals)? * 10_u64.pow(3 - u32::try_from(decimals.len()).ok()?);
    Some(Duration::from_secs(digits(whole)?) + Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::lexer;
    use proptest::prelude::*;

    fn parse(kind: ValueKind, text: &str) -> Result<Value, String> {
        let words = lexer::words(text).unwrap();
        kind.parse(&words[0], &Services::parse("")).map_err(|e| e.to_string())
    }

    const FRACTION: ValueKind = ValueKind::Seconds {
        min: Duration::from_millis(100),
        max: Duration::from_secs(60),
        fractions: true,
        unit: "seconds",
    };

    #[test]
    fn times_have_decimals_where_that_is_allowed() {
        for (text, millis) in [("0.5", 500), ("1", 1000), ("0.1", 100), ("2.25", 2250), ("60.000", 60_000)] {
            assert_eq!(parse(FRACTION, text), Ok(Value::Seconds(Duration::from_millis(millis))), "{text}");
        }
        for bad in ["0.05", "60.001", "1.", ".5", "1.2345", "1.x", "-1", "1e3", "18446744073709551615"] {
            let error = parse(FRACTION, bad).unwrap_err();
            let expected = "expected a number from 0.1 to 60 (seconds, with at most three decimals)";
            assert_eq!(error, format!("{expected}, got '{bad}'"));
        }
        assert!(parse(ValueKind::whole_seconds(0, "seconds"), "0.5").is_err());
    }

    #[test]
    fn words_are_listed_in_errors() {
        let error = parse(ValueKind::Word(&["keep", "append", "replace"]), "drop").unwrap_err();
        assert_eq!(error, "expected keep, append or replace, got 'drop'");
    }

    proptest! {
        #[test]
        fn values_are_written_as_they_are_read(millis in 100u64..=60_000, bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            for (kind, value) in [
                (FRACTION, Value::Seconds(Duration::from_millis(millis))),
                (ValueKind::Bytes, Value::Bytes(bytes.clone())),
                (ValueKind::Switch, Value::Switch(millis % 2 == 0)),
            ] {
                prop_assert_eq!(parse(kind, &value.word()), Ok(value));
            }
        }
    }
}
