//! Texts in pieces: each piece is made when the one before it has been taken, so that no table is locked while a client
//! reads, and no text is ever in memory as a whole.

/// A text that is read some kilobytes at a time. A piece may be empty when the search for the next rows takes longer.
pub type Pieces = Box<dyn Iterator<Item = String> + Send>;

/// Rows of a table that are read some at a time, possibly none.
pub type Rows<T> = Box<dyn Iterator<Item = Vec<T>> + Send>;

/// The text of some rows.
pub fn lines<T: 'static>(rows: Rows<T>, line: impl Fn(&T) -> String + Send + 'static) -> Pieces {
    Box::new(rows.map(move |rows| rows.iter().map(&line).collect()))
}
