//! Changing the user and entering a chroot.

use std::process::Command;

use crate::{Test, needs_root, role, role_with};

pub(crate) const TESTS: &[Test] = &[
    ("privileges::root_becomes_a_user_for_good", root_becomes_a_user_for_good),
    ("privileges::a_jail_goes_with_it", a_jail_goes_with_it),
    ("privileges::no_way_back_is_left", no_way_back_is_left),
    ("privileges::the_same_user_is_no_change", the_same_user_is_no_change),
    ("privileges::root_stays_root_if_told_so", root_stays_root_if_told_so),
    ("privileges::others_cannot", others_cannot),
];

/// What "confined" tells when it was started with `options` of setpriv(1).
fn confined(options: &[&str], arguments: &[&str]) -> String {
    tell(role_with(options, "confined"), arguments)
}

/// What a role writes.
fn tell(mut role: Command, arguments: &[&str]) -> String {
    let output = role.args(arguments).output().expect("setpriv is there on Linux");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The line that "confined" prints for the user `name` that the system has: with its groups, and no other.
fn identity(name: &str) -> String {
    let user = nix::unistd::User::from_name(name).expect("readable").expect("is there");
    let name = std::ffi::CString::new(name).expect("text");
    let groups = nix::unistd::getgrouplist(&name, user.gid).expect("readable");
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    format!("uid {} gid {} groups {}\n", user.uid, user.gid, groups.join(","))
}

fn root_becomes_a_user_for_good() -> Result<(), &'static str> {
    needs_root()?;
    let told = confined(&["--groups", "0,1,2"], &["nobody"]);
    assert!(told.starts_with(&identity("nobody")), "{told}");
    Ok(())
}

fn a_jail_goes_with_it() -> Result<(), &'static str> {
    needs_root()?;
    let jail = tempfile::tempdir().expect("directory");
    let told = confined(&[], &["nobody", jail.path().to_str().expect("text")]);
    assert_eq!(told, format!("{}directory / passwd false\nroot again false\n", identity("nobody")));
    let told = confined(&[], &["nobody", "/no/such/directory"]);
    assert!(told.starts_with("error: cannot chroot to /no/such/directory: "), "{told}");
    Ok(())
}

fn no_way_back_is_left() -> Result<(), &'static str> {
    needs_root()?;
    // With this, root keeps its capabilities when it becomes somebody else (capabilities(7)).
    let told = confined(&["--securebits", "+no_setuid_fixup"], &["nobody"]);
    assert!(told.starts_with(&identity("nobody")), "{told}");
    assert!(told.ends_with("root again false\n"), "{told}");
    Ok(())
}

fn the_same_user_is_no_change() -> Result<(), &'static str> {
    needs_root()?;
    let told = tell(role("confined by nobody"), &["nobody"]);
    assert!(told.starts_with(&identity("nobody")), "{told}");
    Ok(())
}

fn root_stays_root_if_told_so() -> Result<(), &'static str> {
    needs_root()?;
    let told = confined(&["--clear-groups"], &["root"]);
    assert!(told.starts_with(&identity("root")), "{told}");
    Ok(())
}

fn others_cannot() -> Result<(), &'static str> {
    needs_root()?;
    let told = tell(role("confined by nobody"), &["daemon"]);
    assert!(told.starts_with("error: cannot set the groups of user daemon: "), "{told}");
    Ok(())
}
