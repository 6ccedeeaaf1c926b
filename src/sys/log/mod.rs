//! Pen's own messages: on standard error until it serves and with `-f`, otherwise in the system's log.
//!
//! Threads that carry traffic never wait for a terminal or for syslogd: after [`start`], messages go through a bounded
//! queue to a thread that writes them; when the queue is full they are counted, and the count is logged. syslog(3) is
//! used unmodified on every system: it handles the STREAMS device of Solaris and the socket of Linux, reconnects when
//! syslogd was restarted, and keeps the connection of [`connect`] across a chroot.

mod condition;
mod identity;
mod output;
mod program;
mod queue;
mod quiet;
mod stderr;

pub use condition::{Condition, ConditionState, Conditions};
pub use identity::{SyslogIdentity, identity, set_identity};
pub use output::{
    Target, connect, debug, debug_level, debug_lines, error, flush, info, line, set_debug_level, start, warn,
};
pub use program::set_program;
pub use quiet::QuietPeriod;
