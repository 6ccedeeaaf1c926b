//! Pen's own messages: on the standard error until it serves and with `-f`, else in the system's log.
//!
//! Nothing that carries traffic waits for a terminal or for syslogd: from [`start`] on, messages go through a bounded
//! queue to a thread that writes them; when the queue is full they are counted, and the count is logged. syslog(3) is
//! used as it is, on every system: it knows the STREAMS device of Solaris and the socket of Linux, comes back when
//! syslogd was restarted, and keeps what [`connect`] opened through a chroot.

mod condition;
mod output;
mod queue;

pub use condition::{Condition, Conditions};
pub use output::{
    Target, connect, debug, debug_level, error, flush, info, set_debug_level, set_program, start, warn,
};
