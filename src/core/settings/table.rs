//! Tables that describe the fields of a struct: for each its word, the kind of its value, its default and its help.
//!
//! The command language, `write`, `penctl --help`, and the tests of documents and of the service manifest all use the
//! rows; the rest of pen reads a struct with typed fields.

use super::kind::ValueKind;
use super::value::Value;
use crate::core::lexer::Word;
use std::fmt;

/// When a setting may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At any time.
    Always,
    /// Before pen serves; a later change takes effect after a restart.
    Start,
}

/// The reply to a bare `word`, or to a change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyForm {
    /// The value on a line of its own.
    Value,
    /// `Idle timeout: N seconds`
    IdleTimeout,
    /// `tarpit_acl = N`, -1 for none
    Tarpit,
    /// Nothing.
    Empty,
    /// None; the word requires a value.
    None,
}

/// The property by which an administrator of the service sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// A property of the same name.
    Same,
    /// A property of this name.
    Named(&'static str),
    /// None.
    None,
}

/// The description of a row, apart from its field.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The kind of its value.
    pub kind: ValueKind,
    /// Whether it can only be set at start.
    pub when: When,
    /// Whether a lower value is ignored while pen runs.
    pub grows: bool,
    /// Whether it cannot be unset while pen runs.
    pub required: bool,
    /// Whether setting the same value again reads the files that it names again.
    pub rereads: bool,
    /// Whether TLS contexts depend on it.
    pub tls: bool,
    /// Whether it is omitted from `write` at its default: C pen writes no such key.
    pub omits_default: bool,
    /// The reply.
    pub reply: ReplyForm,
    /// The property of the service.
    pub property: Property,
    /// One line for `penctl --help`.
    pub help: &'static str,
}

impl Spec {
    /// A row that may be set at any time and has no reply.
    pub const fn new(kind: ValueKind, help: &'static str) -> Self {
        Spec {
            kind,
            when: When::Always,
            grows: false,
            required: false,
            rereads: false,
            tls: false,
            omits_default: false,
            reply: ReplyForm::None,
            property: Property::Same,
            help,
        }
    }

    /// Can only be set at start.
    pub const fn at_start(self) -> Self {
        Spec { when: When::Start, ..self }
    }

    /// Never decreases while pen runs.
    pub const fn grows(self) -> Self {
        Spec { grows: true, ..self }
    }

    /// Cannot be unset while pen runs.
    pub const fn required(self) -> Self {
        Spec { required: true, ..self }
    }

    /// Reads its files again when it is set again.
    pub const fn rereads(self) -> Self {
        Spec { rereads: true, ..self }
    }

    /// TLS contexts depend on it.
    pub const fn tls(self) -> Self {
        Spec { tls: true, ..self }
    }

    /// Is omitted from `write` at its default.
    pub const fn omits_default(self) -> Self {
        Spec { omits_default: true, ..self }
    }

    /// Sets the reply.
    pub const fn reply(self, reply: ReplyForm) -> Self {
        Spec { reply, ..self }
    }

    /// Sets the property.
    pub const fn property(self, property: Property) -> Self {
        Spec { property, ..self }
    }
}

/// A row of the table of `T`.
#[derive(Debug)]
pub struct FieldRow<T: 'static> {
    /// The word of the control language.
    pub word: &'static str,
    /// Its description.
    pub spec: Spec,
    /// Reads the field.
    pub get: fn(&T) -> Value,
    /// Changes the field.
    pub set: fn(&mut T, &Value),
}

/// A struct whose fields a table describes.
pub trait Table: Default + Clone + 'static {
    /// The rows, in the order of the fields.
    const KEYS: &'static [FieldKey<Self>];
}

/// A row of the table of `T`, which identifies a field in a command. `T::field()` returns the row of a field.
pub struct FieldKey<T: 'static>(&'static FieldRow<T>);

impl<T> FieldKey<T> {
    /// The row.
    pub(crate) const fn of(row: &'static FieldRow<T>) -> Self {
        FieldKey(row)
    }
}

impl<T: Table> FieldKey<T> {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        T::KEYS.iter().copied()
    }

    /// The row with that word.
    pub fn by_word(word: &str) -> Option<Self> {
        Self::all().find(|key| key.word() == word)
    }

    /// Its word in the control language.
    pub fn word(self) -> &'static str {
        self.0.word
    }

    /// Its description.
    pub fn spec(self) -> &'static Spec {
        &self.0.spec
    }

    /// The value of the field.
    pub fn get(self, fields: &T) -> Value {
        (self.0.get)(fields)
    }

    /// Sets the value of the field.
    pub fn set(self, fields: &mut T, value: &Value) {
        (self.0.set)(fields, value);
    }

    /// The value of the field when no command has set it.
    pub fn default(self) -> Value {
        self.get(&T::default())
    }

    /// Whether a word gives the field no value: an empty one, where that is possible.
    pub fn is_unset_by(self, word: Option<&Word>) -> bool {
        self.default() == Value::None
            && word.is_some_and(|word| word.text().is_ok_and(|text| text.is_empty()))
    }

    /// The name and the type of its property in the service (smf(5)).
    pub fn property(self) -> Option<(&'static str, &'static str)> {
        let name = match self.spec().property {
            Property::Same => self.word(),
            Property::Named(name) => name,
            Property::None => return None,
        };
        let kind = match self.spec().kind {
            ValueKind::Switch => "boolean",
            ValueKind::Number { .. }
            | ValueKind::ListOrNone
            | ValueKind::Seconds { fractions: false, .. } => "count",
            _ => "astring",
        };
        Some((name, kind))
    }
}

impl<T> Clone for FieldKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for FieldKey<T> {}

impl<T> PartialEq for FieldKey<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.word == other.0.word
    }
}

impl<T> Eq for FieldKey<T> {}

impl<T> fmt::Debug for FieldKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.word)
    }
}

/// Declares a struct and its table. A row reads `field: type = default, spec;`, with `as "word"` after the field's name
/// where the word of the language differs from it.
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
                pub const fn $field() -> $crate::core::settings::table::FieldKey<Self> {
                    static ROW: $crate::core::settings::table::FieldRow<$name> = $crate::core::settings::table::FieldRow {
                        word: $crate::core::settings::table::word!($field $(as $word)?),
                        spec: $spec,
                        get: |fields| $crate::core::settings::value::FieldType::value(&fields.$field),
                        set: |fields, value| {
                            $crate::core::settings::value::FieldType::assign(&mut fields.$field, value);
                        },
                    };
                    $crate::core::settings::table::FieldKey::of(&ROW)
                }
            )+
        }

        impl $crate::core::settings::table::Table for $name {
            const KEYS: &'static [$crate::core::settings::table::FieldKey<Self>] = &[$($name::$field(),)+];
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
