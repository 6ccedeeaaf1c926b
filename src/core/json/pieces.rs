//! Documents made piece by piece, as the client reads them.

use serde::Serialize;

use crate::core::report::pieces::{Pieces, Rows};

pub(super) fn json(value: &impl Serialize) -> String {
    // Only maps with keys that are not strings fail, and there are none.
    serde_json::to_string(value).unwrap_or_default()
}

/// A document in one piece.
pub fn document(value: &impl Serialize) -> Pieces {
    Box::new(std::iter::once(json(value) + "\n"))
}

/// A document with the fields of `head` and an array `name` of rows. `rows` yields some rows at a time, possibly none.
pub fn list<T: Serialize + 'static>(head: &impl Serialize, name: &str, rows: Rows<T>) -> Pieces {
    let mut begin = json(head);
    begin.pop();
    let separator = if begin.len() > 1 { "," } else { "" };
    let begin = format!("{begin}{separator}\"{name}\":[");
    Box::new(std::iter::once(begin).chain(elements(rows)).chain(std::iter::once("\n]}\n".to_owned())))
}

/// The rows as elements of an array.
pub(super) fn elements<T: Serialize + 'static>(rows: Rows<T>) -> Pieces {
    separated(rows, json)
}

/// The rows as members of an object, each with its name.
pub(super) fn members<T: Serialize + 'static>(rows: Rows<(String, T)>) -> Pieces {
    separated(rows, |(name, row)| format!("{}:{}", json(name), json(row)))
}

fn separated<T: 'static>(rows: Rows<T>, text: fn(&T) -> String) -> Pieces {
    let mut first = true;
    Box::new(rows.map(move |rows| {
        let mut piece = String::new();
        for row in rows {
            piece.push_str(if std::mem::take(&mut first) { "\n" } else { ",\n" });
            piece.push_str(&text(&row));
        }
        piece
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct SampleHead {
        time: &'static str,
    }

    proptest! {
        #[test]
        fn rows_in_any_pieces_are_one_document(rows in prop::collection::vec(prop::collection::vec(any::<u32>(), 0..4), 0..8)) {
            let all: Vec<u32> = rows.concat();
            let text: String = list(&SampleHead { time: "now" }, "numbers", Box::new(rows.into_iter())).collect();
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read, serde_json::json!({ "time": "now", "numbers": all }));
        }
    }

    #[test]
    fn a_head_may_be_empty() {
        #[derive(Serialize)]
        struct Nothing {}
        let text: String = list(&Nothing {}, "numbers", Box::new(std::iter::once(vec![1]))).collect();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            serde_json::json!({ "numbers": [1] })
        );
    }
}
