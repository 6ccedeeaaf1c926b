//! How a connection ended, in one word.

use super::settings::Keyword;
use super::settings::keyword::keywords;

keywords! {
    /// How a connection, or a flow of datagrams, ended. penctl(1) has a table of the words, which a test compares with this one.
    EndReason {
        /// The client ended first, or gave up before it had a server.
        ClientClosed = "client-closed",
        /// The server ended first.
        ServerClosed = "server-closed",
        /// The client broke off: with RST, within a TLS record, or by not answering TCP any more.
        ClientReset = "client-reset",
        /// The server did.
        ServerReset = "server-reset",
        /// Nothing moved for `idle_timeout`.
        Idle = "idle",
        /// No server took it.
        NoServer = "no-server",
        /// It had waited for a place at a server for as long as `queue_timeout` allows.
        QueueTimeout = "queue-timeout",
        /// The list of `client_acl`, or of `proxy_acl`, denies the client.
        Denied = "denied",
        /// The client had reached a limit of its own.
        Limited = "limited",
        /// There was no PROXY header where one is required, or it was bad, or not there in time.
        ProxyFailed = "proxy-failed",
        /// There was no TLS handshake, or not in time.
        HandshakeFailed = "handshake-failed",
        /// A request that cannot be passed on, in HTTP mode.
        BadRequest = "bad-request",
        /// A command ended it.
        ClosedByCommand = "closed-by-command",
        /// A check found its server down, and `on_down` is `close`.
        ServerDown = "server-down",
        /// It made room for another one.
        Evicted = "evicted",
        /// Pen was short of descriptors or memory.
        Shortage = "shortage",
        /// Pen answered by itself, as the command `dummy` says.
        Dummy = "dummy",
        /// Pen ended.
        Shutdown = "shutdown",
        /// A fault of pen itself, which is in its log.
        InternalError = "internal-error",
    }
}

impl EndReason {
    /// How many there are.
    pub const COUNT: usize = Self::WORDS.len();
}
