//! The words of a svccfg(1M) subcommand line.

use anyhow::bail;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A bare word, or text in double quotes.
    Word(String),
    Open,
    Close,
    Equals,
}

/// Splits a line. As in svccfg, the arguments of a command line are first joined with spaces, so a word that the shell
/// quoted must be quoted once more to remain one word.
pub(crate) fn split(line: &str) -> anyhow::Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '=' => tokens.push(Token::Equals),
            '>' | ';' => bail!("syntax error at \"{letter}\""),
            '"' => {
                let mut word = String::new();
                loop {
                    match letters.next() {
                        Some('"') => break,
                        Some('\\') => word.extend(letters.next()),
                        Some(letter) => word.push(letter),
                        None => bail!("unterminated string"),
                    }
                }
                tokens.push(Token::Word(word));
            }
            _ => {
                let mut word = String::from(letter);
                while let Some(letter) = letters.next_if(|letter| !" \t\n\r()=>;\"".contains(*letter)) {
                    word.push(letter);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_svccfg_does() {
        let word = |text: &str| Token::Word(text.into());
        assert_eq!(
            split(r#"setprop pen/servers = astring: ("a b" c\d "e\"f")"#).unwrap(),
            [word("setprop"), word("pen/servers"), Token::Equals, word("astring:"), Token::Open]
                .into_iter()
                .chain([word("a b"), word("c\\d"), word("e\"f"), Token::Close])
                .collect::<Vec<_>>()
        );
        assert_eq!(split("a=b").unwrap(), [word("a"), Token::Equals, word("b")]);
        assert!(split("\"a").is_err());
        assert!(split("a ; b").is_err());
    }

    proptest::proptest! {
        #[test]
        fn reads_back_what_listprop_quotes(value in "\\PC*") {
            let quoted = crate::smf::value::for_svccfg(&value);
            proptest::prop_assert_eq!(split(&quoted).unwrap(), [Token::Word(value)]);
        }
    }
}
