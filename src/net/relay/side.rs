//! The two ends of a connection.

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The peer that connected to pen (downstream).
    Client,
    /// The peer that pen connected to (upstream).
    Server,
}

impl Side {
    /// The opposite one.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
