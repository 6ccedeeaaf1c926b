//! Why an answer does not satisfy a check.

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerFault {
    /// It has come as far as is needed to judge it, and is not what was expected.
    Wrong(String),
    /// It ended before that, or there was none: another address of the server may answer.
    CutOff(String),
}

impl AnswerFault {
    /// The connection has ended, and this is all that has come.
    pub fn ended(answer: &[u8]) -> Self {
        AnswerFault::CutOff(match answer {
            [] => "the server closed the connection without an answer".into(),
            _ => "the answer was cut off".into(),
        })
    }
}
