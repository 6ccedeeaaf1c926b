//! TLS handshakes with clients, counted by version and result.

use super::counters::Counters;

/// The versions, as OpenSSL names them; the last one is for a handshake that failed before there was one.
const VERSIONS: [&str; 5] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "unknown"];
/// The results.
const RESULTS: [&str; 2] = ["success", "failure"];
/// The combinations of both.
const KINDS: usize = VERSIONS.len() * RESULTS.len();

/// Counts handshakes.
#[derive(Debug, Default)]
pub struct Handshakes(Counters<KINDS>);

/// The number of handshakes of a version with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeCount {
    /// The version.
    pub version: &'static str,
    /// `success` or `failure`.
    pub result: &'static str,
    /// The number.
    pub count: u64,
}

impl Handshakes {
    /// A handshake has ended.
    pub fn count(&self, version: &str, success: bool) {
        let version = VERSIONS.iter().position(|known| *known == version).unwrap_or(VERSIONS.len() - 1);
        self.0.count(version * RESULTS.len() + usize::from(!success));
    }

    /// The counts of all versions and results.
    pub fn read(&self) -> [HandshakeCount; KINDS] {
        let totals = self.0.totals();
        std::array::from_fn(|n| HandshakeCount {
            version: VERSIONS[n / RESULTS.len()],
            result: RESULTS[n % RESULTS.len()],
            count: totals[n],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_and_result_has_a_count_of_its_own() {
        let handshakes = Handshakes::default();
        for (version, success) in [("TLSv1.3", true), ("TLSv1.3", true), ("TLSv1.2", false), ("SSLv3", false)]
        {
            handshakes.count(version, success);
        }
        let counts = handshakes.read().map(|c| (c.version, c.result, c.count));
        let counts: Vec<_> = counts.into_iter().filter(|(.., count)| *count > 0).collect();
        assert_eq!(counts, [("TLSv1.2", "failure", 1), ("TLSv1.3", "success", 2), ("unknown", "failure", 1)]);
    }
}
