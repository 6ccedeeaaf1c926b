//! Tables that describe the fields of a struct: the word of each, what it takes, its default and its help.
//!
//! The command language, `write`, `penctl --help`, the checks of documents and of the service's manifest all follow from
//! the rows; a struct with typed fields is what the rest of pen reads.

use super::kind::Kind;
use super::value::Value;
use std::fmt;

/// When a setting may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At any time.
    Always,
    /// Before pen serves; a later change needs a restart.
    Start,
}

/// What a bare `word`, or a change of it, answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The value on a line.
    Value,
    /// `Idle timeout: N seconds`
    IdleTimeout,
    /// Nothing.
    Empty,
    /// Nothing; the word needs its value.
    None,
}

/// How a service's administrator gives the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// By a property of the same name.
    Same,
    /// By a property of this name.
    Named(&'static str),
    /// Not at all.
    None,
}

/// Everything about a row but where its value is.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// What it takes.
    pub kind: Kind,
    /// At start only?
    pub when: When,
    /// While pen runs a smaller number changes nothing.
    pub grows: bool,
    /// While pen runs it cannot be unset.
    pub required: bool,
    /// Giving the same value again reads the files that it names again.
    pub rereads: bool,
    /// Contexts of TLS are made by it.
    pub tls: bool,
    /// It is not written where it has its default: C pen writes no such key.
    pub omits_default: bool,
    /// The reply.
    pub reply: Reply,
    /// The property of the service.
    pub property: Property,
    /// One line for `penctl --help`.
    pub help: &'static str,
}

impl Spec {
    /// A row that may be given at any time and answers nothing.
    pub const fn new(kind: Kind, help: &'static str) -> Self {
        Spec {
            kind,
            when: When::Always,
            grows: false,
            required: false,
            rereads: false,
            tls: false,
            omits_default: false,
            reply: Reply::None,
            property: Property::Same,
            help,
        }
    }

    /// May be given at start only.
    pub const fn at_start(self) -> Self {
        Spec { when: When::Start, ..self }
    }

    /// Never becomes smaller while pen runs.
    pub const fn grows(self) -> Self {
        Spec { grows: true, ..self }
    }

    /// Cannot be unset while pen runs.
    pub const fn required(self) -> Self {
        Spec { required: true, ..self }
    }

    /// Reads its files again when it is given again.
    pub const fn rereads(self) -> Self {
        Spec { rereads: true, ..self }
    }

    /// Contexts of TLS are made by it.
    pub const fn tls(self) -> Self {
        Spec { tls: true, ..self }
    }

    /// Is not written where it has its default.
    pub const fn omits_default(self) -> Self {
        Spec { omits_default: true, ..self }
    }

    /// Answers so.
    pub const fn reply(self, reply: Reply) -> Self {
        Spec { reply, ..self }
    }

    /// Has another property, or none.
    pub const fn property(self, property: Property) -> Self {
        Spec { property, ..self }
    }
}

/// A row of the table of `T`.
#[derive(Debug)]
pub struct Row<T: 'static> {
    /// The word of the control language.
    pub word: &'static str,
    /// What there is to know about it.
    pub spec: Spec,
    /// Reads the field.
    pub get: fn(&T) -> Value,
    /// Changes the field.
    pub set: fn(&mut T, &Value),
}

/// A struct whose fields a table describes.
pub trait Table: Default + Clone + 'static {
    /// The rows, in the order of the fields.
    const KEYS: &'static [Key<Self>];
}

/// One row of the table of `T`: which field a command means. `T::field()` names the row of a field.
pub struct Key<T: 'static>(&'static Row<T>);

impl<T> Key<T> {
    /// The row.
    pub(crate) const fn of(row: &'static Row<T>) -> Self {
        Key(row)
    }
}

impl<T: Table> Key<T> {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        T::KEYS.iter().copied()
    }

    /// The one of that word.
    pub fn by_word(word: &str) -> Option<Self> {
        Self::all().find(|key| key.word() == word)
    }

    /// Its word in the control language.
    pub fn word(self) -> &'static str {
        self.0.word
    }

    /// What there is to know about it.
    pub fn spec(self) -> &'static Spec {
        &self.0.spec
    }

    /// The value that the field has.
    pub fn get(self, fields: &T) -> Value {
        (self.0.get)(fields)
    }

    /// Gives the field a value.
    pub fn set(self, fields: &mut T, value: &Value) {
        (self.0.set)(fields, value);
    }

    /// The value that the field has when no command named it.
    pub fn default(self) -> Value {
        self.get(&T::default())
    }

    /// The name and the type of the property that stands for it in the service (smf(5)).
    pub fn property(self) -> Option<(&'static str, &'static str)> {
        let name = match self.spec().property {
            Property::Same => self.word(),
            Property::Named(name) => name,
            Property::None => return None,
        };
        let kind = match self.spec().kind {
            Kind::Switch => "boolean",
            Kind::Number { .. } | Kind::Seconds { fractions: false, .. } => "count",
            _ => "astring",
        };
        Some((name, kind))
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.word == other.0.word
    }
}

impl<T> Eq for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.word)
    }
}

/// Declares a struct and its table. A row reads `field: type = default, spec;`, with `as "word"` behind the field's name
/// where the word of the language is not that name.
macro_rules! table {
    (
        $(#[$meta:meta])*
        $name:ident { $($field:ident $(as $word:literal)? : $type:ty = $default:expr, $spec:expr;)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(
                #[doc = concat!("What `", $crate::core::settings::table::word!($field $(as $word)?), "` says.")]
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)+ }
            }
        }

        impl $name {
            $(
                #[doc = concat!("The row of `", $crate::core::settings::table::word!($field $(as $word)?), "`.")]
                pub const fn $field() -> $crate::core::settings::table::Key<Self> {
                    static ROW: $crate::core::settings::table::Row<$name> = $crate::core::settings::table::Row {
                        word: $crate::core::settings::table::word!($field $(as $word)?),
                        spec: $spec,
                        get: |fields| $crate::core::settings::value::Field::value(&fields.$field),
                        set: |fields, value| {
                            $crate::core::settings::value::Field::assign(&mut fields.$field, value);
                        },
                    };
                    $crate::core::settings::table::Key::of(&ROW)
                }
            )+
        }

        impl $crate::core::settings::table::Table for $name {
            const KEYS: &'static [$crate::core::settings::table::Key<Self>] = &[$($name::$field(),)+];
        }
    };
}

/// The word of a row.
macro_rules! word {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident as $word:literal) => {
        $word
    };
}

pub(crate) use {table, word};
