//! Suggestions for a word that is not a command.

use super::help;

/// The most suggestions that are given.
const MOST: usize = 3;

/// The words of commands that are spelled similarly to `word`, the closest first.
pub fn nearest(word: &str) -> Vec<&'static str> {
    // Two slips in a word of three letters make another word; longer words may have more.
    let length = word.chars().count();
    let allowed = length.div_ceil(3).min(3);
    let mut near: Vec<(usize, &str)> = help::words()
        // Each letter more is a slip; the distance of a word of thousands of letters would take long to find.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MOST).map(|(_, word)| word).collect()
}

/// What was expected instead of `word`, with the words among those that `fit` which are spelled similarly.
pub(super) fn expected(what: &str, word: &str, fits: impl Fn(&str) -> bool) -> String {
    let words: Vec<_> = nearest(word).into_iter().filter(|near| fits(near)).collect();
    match words.as_slice() {
        [] => what.to_owned(),
        words => format!("{what} (nearest: {})", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        assert_eq!(nearest("servrs").first(), Some(&"servers"));
        assert_eq!(nearest("ruondrobin"), ["roundrobin"]);
        assert_eq!(nearest("status2"), ["status"]);
        assert_eq!(nearest("backlist"), ["blacklist", "backlog"]);
        assert_eq!(nearest("frobnicate"), [""; 0]);
        assert!(nearest("").len() <= MOST);
        assert_eq!(nearest("acll").first(), Some(&"acl"));
        assert_eq!(nearest(&"x".repeat(1 << 20)), [""; 0]);
    }
}
