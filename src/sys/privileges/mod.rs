//! Dropping privileges: `-j` (chroot) and `-u` (user).
//!
//! The order of the steps matters, so one function does them all: [`confine`]. No right of root is kept, except to bind
//! low ports if pen was granted it (see `retained`), so that a later `listen 443` still works. Pen may also be started
//! as its user already, with that right; then `-u` with the same user has nothing to do.

mod retained;

use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::Path;

use nix::unistd::{
    Gid, Uid, User, chdir, chroot, getegid, geteuid, getgid, getuid, initgroups, setegid, seteuid, setgid,
    setgroups, setuid,
};

use super::error::context;
use retained::Retained;

/// The highest user ID: MAXUID of Solaris, the lowest among the supported systems.
const UID_MAX: u32 = i32::MAX.unsigned_abs();

/// A user of this machine, as `-u` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// `None` for a number that no user has.
    name: Option<CString>,
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Finds a user by name, or by number if no user has that name. An unknown number is accepted: its group has the
    /// same number. Call it before a chroot, which hides the user database.
    ///
    /// # Errors
    /// There is no such user, or the user database cannot be read.
    pub fn lookup(word: &str) -> io::Result<Self> {
        let unreadable = |error| context(format_args!("cannot look up user '{word}'"), error);
        let mut found = User::from_name(word).map_err(unreadable)?;
        let number = word.parse().ok().filter(|number| *number <= UID_MAX);
        if let (None, Some(number)) = (&found, number) {
            found = User::from_uid(Uid::from_raw(number)).map_err(unreadable)?;
        }
        match (found, number) {
            (Some(user), _) => {
                Ok(Self { name: Some(CString::new(user.name)?), uid: user.uid, gid: user.gid })
            }
            (None, Some(number)) => {
                Ok(Self { name: None, uid: Uid::from_raw(number), gid: Gid::from_raw(number) })
            }
            (None, None) => {
                let text = format!("expected the name or number of a user of this machine, got '{word}'");
                Err(io::Error::new(io::ErrorKind::NotFound, text))
            }
        }
    }

    /// Sets the supplementary groups of the user. Call it before a chroot, which hides the group database.
    fn take_groups(&self) -> nix::Result<()> {
        match &self.name {
            Some(name) => initgroups(name, self.gid),
            None => setgroups(&[self.gid]),
        }
    }

    /// The user ID.
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// The ID of the user's primary group.
    pub fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Whether this process already runs as this user and group in every respect.
    fn is_current(&self) -> bool {
        getuid() == self.uid && geteuid() == self.uid && getgid() == self.gid && getegid() == self.gid
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(&name.to_string_lossy()),
            None => self.uid.fmt(f),
        }
    }
}

/// Whether a process that did not request programs in [`confine`] can never start any.
pub const PROGRAMS_ARE_A_PRIVILEGE: bool = cfg!(any(target_os = "solaris", target_os = "illumos"));

/// Whether this process acts as root.
pub fn running_as_root() -> bool {
    geteuid().is_root()
}

/// Enters the directory `jail` for good (chroot), then becomes `account`: supplementary groups, group, user; then
/// verifies that root cannot be regained, unless `account` is root. Nothing changes for a user that pen already runs
/// as. On systems with a privilege for it, pen can start programs afterwards only if `programs` is set.
///
/// # Errors
/// The error with its step. The process may have changed only partly and must end.
pub fn confine(jail: Option<&Path>, account: Option<&Account>, programs: bool) -> io::Result<()> {
    let account = account.filter(|account| account.uid.is_root() || !account.is_current());
    if let Some(account) = account {
        account
            .take_groups()
            .map_err(|error| context(format_args!("cannot set the groups of user {account}"), error))?;
    }
    if let Some(jail) = jail {
        let refused = |error| context(format_args!("cannot chroot to {}", jail.display()), error);
        chroot(jail).map_err(refused)?;
        // A working directory outside the jail would be a way out.
        chdir("/").map_err(refused)?;
    }
    if let Some(account) = account {
        let retained = (!account.uid.is_root()).then(Retained::prepare).transpose();
        let retained =
            retained.map_err(|error| context("cannot keep the right to low ports alone", error))?;
        setgid(account.gid).map_err(|error| {
            context(format_args!("cannot set the group {} of user {account}", account.gid), error)
        })?;
        setuid(account.uid).map_err(|error| context(format_args!("cannot become user {account}"), error))?;
        if let Some(retained) = retained {
            retained.drop_all_others(programs).map_err(|error| {
                context(format_args!("cannot give up privileges as user {account}"), error)
            })?;
        }
        verify(account)?;
    }
    Ok(())
}

/// Checks that the change happened and is final: no identity of root is left to go back to.
fn verify(account: &Account) -> io::Result<()> {
    let way_back = || {
        setuid(Uid::from_raw(0)).is_ok()
            || seteuid(Uid::from_raw(0)).is_ok()
            || (account.gid.as_raw() != 0
                && (setgid(Gid::from_raw(0)).is_ok() || setegid(Gid::from_raw(0)).is_ok()))
    };
    if !account.is_current() {
        return Err(io::Error::other(format!("the system did not make pen user {account}")));
    }
    if !account.uid.is_root() && way_back() {
        return Err(io::Error::other(format!("user {account} can still become root again")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_users_by_name_and_number() {
        let root = Account::lookup("root").expect("every machine has root");
        assert_eq!((root.uid(), root.gid(), root.to_string().as_str()), (0, 0, "root"));
        assert_eq!(Account::lookup("0").expect("by number"), root);
    }

    #[test]
    fn takes_a_number_that_no_user_has() {
        let account = Account::lookup("1999999999").expect("a number");
        let shown = (account.uid(), account.gid(), account.to_string());
        assert_eq!(shown, (1_999_999_999, 1_999_999_999, "1999999999".into()));
    }

    #[test]
    fn names_the_user_that_is_not_there() {
        for word in ["nobody-of-that-name", "", "4294967294", "-1", "99999999999"] {
            let error = Account::lookup(word).expect_err("no such user");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            assert!(error.to_string().ends_with(&format!("got '{word}'")), "{error}");
        }
    }

    #[test]
    fn nothing_to_do_is_no_change() {
        confine(None, None, false).expect("nothing asked for");
        if !running_as_root()
            && let Ok(myself) = Account::lookup(&geteuid().to_string())
        {
            confine(None, Some(&myself), false).expect("already that user");
        }
    }
}
