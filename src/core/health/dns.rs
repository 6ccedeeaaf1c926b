//! The query of a dns check, and how its answer is judged (RFC 1035 4).

use crate::core::Error;

/// The length of a message's header.
const HEADER: usize = 12;
/// A query for the name servers of the root, which every resolver knows.
const TYPE_NS: u16 = 2;
/// A query for IPv4 addresses.
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

/// The labels of a name.
///
/// # Errors
/// It is not a host name.
pub fn labels(name: &str) -> Result<Vec<&str>, Error> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let labels: Vec<&str> = if bare.is_empty() { Vec::new() } else { bare.split('.').collect() };
    let fits =
        |label: &&str| (1..=63).contains(&label.len()) && label.bytes().all(|b| (b'!'..=b'~').contains(&b));
    if bare.len() <= 253 && !name.is_empty() && labels.iter().all(fits) {
        Ok(labels)
    } else {
        Err(Error::expected("a host name", name))
    }
}

/// The query for `name`, by default for the root, with this ID.
pub fn question(name: Option<&str>, id: u16) -> Vec<u8> {
    let labels = name.and_then(|name| labels(name).ok()).unwrap_or_default();
    let asked = if labels.is_empty() { TYPE_NS } else { TYPE_A };
    // Recursion is desired; one question.
    let header: [u16; 6] = [id, 0x0100, 1, 0, 0, 0];
    let mut message: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    for label in labels {
        message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend([asked, CLASS_IN].iter().flat_map(|word| word.to_be_bytes()));
    message
}

/// The verdict on an answer to the query with this ID: `None` if it answers another query.
pub fn judge(answer: &[u8], id: u16) -> Option<Result<String, String>> {
    let header = answer.get(..HEADER)?;
    let is_answer = header[2] & 0x80 != 0;
    if header[..2] != id.to_be_bytes() || !is_answer {
        return None;
    }
    let code = header[3] & 0x0f;
    let name = match code {
        0 => "NOERROR".into(),
        1 => "FORMERR".into(),
        2 => return Some(Err("the answer is SERVFAIL".into())),
        3 => "NXDOMAIN".into(),
        4 => "NOTIMP".into(),
        5 => "REFUSED".into(),
        other => format!("code {other}"),
    };
    Some(Ok(format!("the answer is {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn questions_are_as_rfc_1035_has_them() {
        let root = question(None, 0x1234);
        assert_eq!(root, [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]);
        let named = question(Some("a.bc."), 1);
        assert_eq!(named[HEADER..], [1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1]);
        for bad in ["", "..", "a..b", ".a", "a b", &"a".repeat(64), &"ab.".repeat(90)] {
            assert!(labels(bad).is_err(), "{bad}");
        }
        assert_eq!(labels(".").unwrap(), [""; 0]);
    }

    #[test]
    fn any_answer_with_the_id_is_well_but_servfail() {
        let answer = |id: u16, flags: u8, code: u8| {
            let mut answer = question(None, id);
            (answer[2], answer[3]) = (flags, code);
            answer
        };
        assert_eq!(judge(&answer(7, 0x80, 0), 7), Some(Ok("the answer is NOERROR".into())));
        assert_eq!(judge(&answer(7, 0x80, 0x85), 7), Some(Ok("the answer is REFUSED".into())));
        assert_eq!(judge(&answer(7, 0x80, 2), 7), Some(Err("the answer is SERVFAIL".into())));
        assert_eq!(judge(&answer(8, 0x80, 0), 7), None, "another id");
        assert_eq!(judge(&answer(7, 0, 0), 7), None, "a question");
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(answer in prop::collection::vec(any::<u8>(), 0..40), id in any::<u16>()) {
            _ = judge(&answer, id);
        }

        #[test]
        fn any_name_is_survived(name in ".{0,80}") {
            _ = question(Some(&name), 1);
        }
    }
}
