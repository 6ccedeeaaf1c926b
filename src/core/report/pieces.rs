//! Texts in pieces: each piece is made when the one before it has been taken, so that no table is locked while a client
//! reads, and no text is ever in memory as a whole.

/// A text that is read some kilobytes at a time. A piece may be empty when the search for the next rows takes longer.
pub type Pieces = Box<dyn Iterator<Item = String> + Send>;

/// Rows of a table that are read some at a time, possibly none.
pub type Rows<T> = Box<dyn Iterator<Item = Vec<T>> + Send>;

/// The rows that `from` has some at a time from one number on, until it has none.
pub fn numbered<T: 'static>(from: impl Fn(usize) -> Vec<T> + Send + 'static) -> Rows<T> {
    let mut begin = 0;
    Box::new(std::iter::from_fn(move || {
        let rows = from(begin);
        begin += rows.len();
        (!rows.is_empty()).then_some(rows)
    }))
}

/// The text of some rows.
pub fn lines<T: 'static>(rows: Rows<T>, line: impl Fn(&T) -> String + Send + 'static) -> Pieces {
    Box::new(rows.map(move |rows| rows.iter().map(&line).collect()))
}
