//! The sandbox itself: nothing that happens in it has an effect outside.

use std::fs;
use std::path::Path;

use crate::support::{run, sandbox, skipped};

/// Whether any process of the machine has `word` among its arguments.
fn runs(word: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|arg| arg == word.as_bytes())
    })
}

#[test]
fn leaves_nothing_behind() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = sandbox(
        dir.path(),
        r#"
        touch "$1/inside" /usr/bin/pen-testbed-leak /etc/pen-testbed-leak /var/run/pen-testbed-leak
        [ -e "$1/inside" ]
        # A daemon that has left its parent, and one that ignores what it can.
        setsid sleep 987001 &
        (trap '' TERM HUP; sleep 987002 & sleep 987003 &)
        ls /proc | grep -c '^[0-9]' >/dev/null
        id -u
        "#,
    );
    assert_eq!(text, "0\n");
    for path in [
        dir.path().join("inside").as_path(),
        Path::new("/usr/bin/pen-testbed-leak"),
        Path::new("/etc/pen-testbed-leak"),
        Path::new("/var/run/pen-testbed-leak"),
    ] {
        assert!(!path.exists(), "{}", path.display());
    }
    for word in ["987001", "987002", "987003"] {
        assert!(!runs(word), "{word}");
    }
}

#[test]
fn hands_on_the_exit_status_and_sets_the_path() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), "exit 7").status.code(), Some(7));
    sandbox(
        dir.path(),
        r#"
        is "$(command -v pkgadd)" /usr/sbin/pkgadd
        is "$(command -v svcs)" /usr/bin/svcs
        is "$PATH" /usr/sbin:/usr/bin
        is "$(readlink -f /usr/sbin/sh)" "$(readlink -f /bin/sh)"
        "#,
    );
}

#[test]
fn has_a_network_of_its_own() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    sandbox(
        dir.path(),
        r#"
        # Port 80 is free, and there is nothing but loopback.
        perl -MIO::Socket::INET -e 'IO::Socket::INET->new(LocalAddr => "127.0.0.1:80", Listen => 1) or die $!'
        [ "$(ip -o link | wc -l)" = 1 ]
        "#,
    );
}

/// As an unprivileged user, if the machine has newuidmap(1): in a root sandbox where that user has a range of IDs.
#[test]
fn works_without_root() {
    if skipped() {
        return;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(tools) = std::env::split_paths(&path).find(|dir| dir.join("newuidmap").exists()) else {
        eprintln!("skipped: no newuidmap, which an unprivileged sandbox needs");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(tools, dir.path().join("tools")).unwrap();
    sandbox(
        dir.path(),
        r#"
        cp "$1"/tools/new[ug]idmap /usr/sbin/
        chmod u+s /usr/sbin/new[ug]idmap
        for file in subuid subgid; do echo games:100000:65536 >/etc/$file; done
        # What this sandbox has put where the inner one wants to.
        umount -l /etc/svc/volatile /lib/svc/testbed
        rm -rf /var/sadm /var/svc /etc/svc /lib/svc /etc/security/*_attr /etc/user_attr /usr/*bin/pkg* /usr/*bin/svc*
        chmod 711 "$1"
        setpriv --reuid=games --regid=games --clear-groups "$2/sandbox.sh" -b "$3" sh -euc '
            [ "$(svcs -Ho state milestone/network)" = online ]
            touch /usr/bin/own /etc/own /var/run/own
            chown daemon:sys /usr/bin/own
        '
        [ ! -e /usr/bin/own ]
        "#,
    );
}
