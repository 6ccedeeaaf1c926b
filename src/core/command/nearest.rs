//! What may have been meant by a word that is no command.

use super::help;

/// How many words are named at most.
const MOST: usize = 3;

/// The words of commands that are spelled nearly like `word`, the nearest first; none where nothing is near.
pub fn nearest(word: &str) -> Vec<&'static str> {
    // A slip in a word of three letters makes another word; longer ones may have more.
    let allowed = word.chars().count().div_ceil(3).min(3);
    let mut near: Vec<(usize, &str)> = help::words()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MOST).map(|(_, word)| word).collect()
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
    }
}
