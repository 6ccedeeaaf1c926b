//! Finds the end of a message body (RFC 9112, sections 6 and 7). Nothing here changes or stores the body.

/// The rest of a message body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// This many bytes are still to come; never 0 between two calls.
    Length(u64),
    /// A chunked body, trailers included.
    Chunked(Chunk),
}

/// The outcome of [`Body::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The body goes on.
    More,
    /// The body is complete; the next byte begins a message.
    Done,
    /// Not a chunked body that every server reads alike: its end is uncertain.
    Unclear,
}

/// The position inside a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// At the first digit of a chunk size.
    Start,
    /// After a digit.
    Size(u64),
    /// In white space after the size, where only an extension or the line end may follow.
    Space(u64),
    /// In an extension.
    Extension(u64),
    /// After the CR of the size line.
    SizeCr(u64),
    /// In the data, with so many bytes to come.
    Data(u64),
    /// After the data.
    DataEnd,
    /// After the CR that follows the data.
    DataCr,
    /// At the start of a trailer line, or of the empty line that ends the body.
    Trailer,
    /// In a trailer line.
    TrailerLine,
    /// After the CR of a trailer line.
    TrailerCr,
    /// After the CR of the empty line.
    EndCr,
}

impl Body {
    /// A body whose header announces so many bytes; `None` if it is empty.
    pub(super) fn of_length(length: u64) -> Option<Self> {
        (length > 0).then_some(Self::Length(length))
    }

    /// A chunked body from its start.
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::Start)
    }

    /// How many of the next bytes are body data that need not be read.
    pub(super) fn opaque(self) -> u64 {
        match self {
            Self::Length(left) | Self::Chunked(Chunk::Data(left)) => left,
            Self::Chunked(_) => 0,
        }
    }

    /// Skips `count` bytes of data, at most [`opaque`](Self::opaque). Returns whether that ended the body.
    pub(super) fn skip(&mut self, count: u64) -> bool {
        if let Self::Length(left) | Self::Chunked(Chunk::Data(left)) = self {
            *left = left.saturating_sub(count);
        }
        matches!(self, Self::Length(0))
    }

    /// Reads `input` up to the end of the body. Returns how many bytes that was.
    pub(super) fn advance(&mut self, input: &[u8]) -> (usize, Then) {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            match self {
                Self::Length(left) => {
                    used += take(left, input.len() - used);
                    if *left == 0 {
                        return (used, Then::Done);
                    }
                }
                Self::Chunked(Chunk::Data(left)) => {
                    used += take(left, input.len() - used);
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::DataEnd);
                    }
                }
                Self::Chunked(Chunk::EndCr) => {
                    return if byte == b'\n' { (used + 1, Then::Done) } else { (used, Then::Unclear) };
                }
                Self::Chunked(place) => match place.next(byte) {
                    Some(next) => {
                        *place = next;
                        used += 1;
                    }
                    None => return (used, Then::Unclear),
                },
            }
        }
        (used, Then::More)
    }
}

/// Takes at most `have` from `left`.
fn take(left: &mut u64, have: usize) -> usize {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(have);
    *left -= taken as u64;
    taken
}

impl Chunk {
    /// The position after `byte`, or `None` where the grammar does not allow it.
    ///
    /// Stricter than most servers on purpose: different servers read a bare CR or LF, a second word after the size or a
    /// size beyond 64 bits in different ways.
    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, _) => Self::Size(digit(byte)?),
            (Self::Size(size) | Self::Space(size) | Self::Extension(size), b'\r') => Self::SizeCr(size),
            (Self::Size(size) | Self::Space(size), b';') => Self::Extension(size),
            (Self::Size(size) | Self::Space(size), b' ' | b'\t') => Self::Space(size),
            (Self::Size(size), _) => Self::Size(size.checked_mul(16)? | digit(byte)?),
            (Self::Extension(_), _) if is_text(byte) => self,
            (Self::SizeCr(0), b'\n') => Self::Trailer,
            (Self::SizeCr(size), b'\n') => Self::Data(size),
            (Self::DataEnd, b'\r') => Self::DataCr,
            (Self::DataCr, b'\n') => Self::Start,
            (Self::Trailer, b'\r') => Self::EndCr,
            (Self::TrailerLine, b'\r') => Self::TrailerCr,
            (Self::Trailer | Self::TrailerLine, _) if is_text(byte) => Self::TrailerLine,
            (Self::TrailerCr, b'\n') => Self::Trailer,
            _ => return None,
        })
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
