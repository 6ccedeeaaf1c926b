//! Under which name and facility messages go to syslog.

use std::ffi::{CStr, CString};
use std::sync::OnceLock;

use nix::syslog::Facility;

/// The name and the facility.
#[derive(Debug, Clone, Copy)]
pub struct SyslogIdentity {
    /// The name of the program.
    pub ident: &'static CStr,
    /// The word for the facility, such as `local3`.
    pub facility: &'static str,
}

/// The facility where none is set.
const USER: &str = "user";

static IDENTITY: OnceLock<SyslogIdentity> = OnceLock::new();

/// The identity in use.
pub fn identity() -> SyslogIdentity {
    IDENTITY.get().copied().unwrap_or(SyslogIdentity { ident: super::program::program(), facility: USER })
}

/// Sets the identity, once, before the connection to syslog is made; without a name it is that of the program.
pub fn set_identity(ident: Option<&str>, facility: &'static str) {
    // The name is kept for the life of the process, as openlog(3) wants it. It has no NUL: it was read from text.
    let ident =
        ident.and_then(|name| CString::new(name).ok()).map(|name| &*Box::leak(name.into_boxed_c_str()));
    let identity = SyslogIdentity { ident: ident.unwrap_or_else(super::program::program), facility };
    // If it is set twice, the first one is kept.
    let _ = IDENTITY.set(identity);
}

/// The facility as syslog(3) has it.
pub(super) fn facility() -> Facility {
    match identity().facility {
        "daemon" => Facility::LOG_DAEMON,
        "auth" => Facility::LOG_AUTH,
        "local0" => Facility::LOG_LOCAL0,
        "local1" => Facility::LOG_LOCAL1,
        "local2" => Facility::LOG_LOCAL2,
        "local3" => Facility::LOG_LOCAL3,
        "local4" => Facility::LOG_LOCAL4,
        "local5" => Facility::LOG_LOCAL5,
        "local6" => Facility::LOG_LOCAL6,
        "local7" => Facility::LOG_LOCAL7,
        _ => Facility::LOG_USER,
    }
}
