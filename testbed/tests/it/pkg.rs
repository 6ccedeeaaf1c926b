//! pkgadd, pkgchk, pkginfo, pkgrm.

use crate::support::{Toy, sandbox, skipped};

/// Copies what is new and keeps what an administrator edited.
const I_KEEP: &str = "while read src dest; do
    echo \"i.keep $src $dest\" >>$PKG_INSTALL_ROOT/tmp/keep.log
    if [ -f $dest ]; then cp $src $dest.new; else cp $src $dest; fi
done
echo \"i.keep args=$* BASEDIR=$BASEDIR ROOT=$PKG_INSTALL_ROOT UPDATE=$UPDATE\" >>$PKG_INSTALL_ROOT/tmp/keep.log
";
const R_KEEP: &str = "while read dest; do echo \"r.keep $dest\" >>$PKG_INSTALL_ROOT/tmp/keep.log; rm -f $dest $dest.new; done\n";

fn toy(version: &str, sample: &str) -> Toy {
    Toy::new("TOYsvc", version, "none keep")
        .line("d none etc 0755 root sys")
        .line("d none etc/toy 0755 root sys")
        .file("e keep", "etc/toy/toy.conf.sample", "0644 root sys", sample)
        .line("d none usr 0755 root sys")
        .line("d none usr/bin 0755 root bin")
        .file("f none", "usr/bin/toy", "0555 root bin", &format!("#!/bin/sh\necho toy {version}\n"))
        .line("s none usr/bin/toylink=toy")
        .line("d none /lib/toy 0755 root bin")
        .file("f none", "/lib/toy/method", "0555 root bin", "#!/bin/sh\n")
        .script("depend", "P SUNWcsr Core Solaris, (Root)\n\t(i386) 11.11\n")
        .script("i.keep", I_KEEP)
        .script("r.keep", R_KEEP)
        .script("postinstall", "echo postinstall >>$PKG_INSTALL_ROOT/tmp/keep.log\n")
        .script("preremove", "echo preremove >>$PKG_INSTALL_ROOT/tmp/keep.log\n")
        .script("checkinstall", "[ `id -un` = nobody ] || exit 1\necho TOYPARAM=set >>$1\n")
}

#[test]
fn installs_checks_and_removes() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    toy("1.0", "a=1\n").datastream(dir.path());
    sandbox(
        dir.path(),
        r#"
        # Scripts: the default admin file asks, and -n forbids to ask.
        status 5 pkgadd -n -d "$1/TOYsvc.pkg" TOYsvc
        status 1 pkginfo -q TOYsvc
        [ ! -e /usr/bin/toy ]
        out=$(yes | pkgadd -d "$1/TOYsvc.pkg" TOYsvc)
        has "$out" 'Installation of <TOYsvc> was successful.'
        is "$(toy)" 'toy 1.0'
        is "$(toylink)" 'toy 1.0'
        is "$(stat -c '%a %U %G %Y' /usr/bin/toy)" '555 root bin 1262304000'
        is "$(stat -c '%a %U %G' /etc/toy)" '755 root sys'
        has "$(cat /var/sadm/install/contents)" '/etc/toy/toy.conf.sample e keep 0644 root sys 4 '
        has "$(cat /var/sadm/pkg/TOYsvc/pkginfo)" 'TOYPARAM=set'
        pkgchk -n TOYsvc
        pkginfo -q TOYsvc
        has "$(pkginfo -l TOYsvc)" 'STATUS:  completely installed'
        has "$(pkginfo TOYsvc)" 'application TOYsvc          Toy service'
        # pkgchk sees what changed; -n leaves the editable file alone.
        echo more >>/etc/toy/toy.conf.sample
        pkgchk -n TOYsvc
        status 99 pkgchk TOYsvc
        has "$out" 'file size <4> expected <9> actual'
        chmod 700 /usr/bin/toy
        status 99 pkgchk -n TOYsvc
        has "$out" 'permissions <0555> expected <0700> actual'
        pkgchk -n -f TOYsvc
        rm /usr/bin/toylink
        status 99 pkgchk -n TOYsvc
        has "$out" 'pathname does not exist'
        # Removal: what the administrator put there stays, and so does its directory.
        touch /etc/toy/toy.conf
        status 5 pkgrm -n TOYsvc
        yes_admin
        pkgrm -n -a /tmp/admin TOYsvc
        [ ! -e /usr/bin/toy ] && [ ! -e /etc/toy/toy.conf.sample ] && [ ! -d /lib/toy ]
        [ -e /etc/toy/toy.conf ]
        has "$(cat /var/sadm/install/contents)" '/usr/bin d none 0755 root bin SUNWcsr'
        is "$(grep -c TOYsvc /var/sadm/install/contents || :)" 0
        is "$(cut -d' ' -f1 /tmp/keep.log | tr '\n' ' ')" 'i.keep i.keep postinstall preremove r.keep '
        has "$(cat /tmp/keep.log)" 'args=ENDOFCLASS BASEDIR=/ ROOT= UPDATE='
        status 1 pkgrm -n -a /tmp/admin TOYsvc
        "#,
    );
}

#[test]
fn overwrite_runs_class_scripts_for_changed_files_only() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    toy("1.0", "a=1\n").write(&dir.path().join("one"));
    toy("1.1", "a=2\n").write(&dir.path().join("two"));
    sandbox(
        dir.path(),
        r#"
        yes_admin
        pkgadd -n -a /tmp/admin -d "$1/one" all
        echo edited >/etc/toy/toy.conf.sample
        : >/tmp/keep.log
        # The same again.
        pkgadd -n -a /tmp/admin -d "$1/one" TOYsvc
        hasnt "$(cat /tmp/keep.log)" i.keep
        is "$(cat /etc/toy/toy.conf.sample)" edited
        # Another version: only if the admin file allows.
        status 4 pkgadd -n -a /tmp/admin -d "$1/two" TOYsvc
        yes_admin overwrite
        pkgadd -n -a /tmp/admin -d "$1/two" TOYsvc
        has "$(cat /tmp/keep.log)" "i.keep $1/two/TOYsvc/reloc/etc/toy/toy.conf.sample /etc/toy/toy.conf.sample"
        has "$(cat /tmp/keep.log)" UPDATE=yes
        is "$(cat /etc/toy/toy.conf.sample)" edited
        is "$(cat /etc/toy/toy.conf.sample.new)" a=2
        is "$(toy)" 'toy 1.1'
        has "$(pkginfo -l TOYsvc)" 'VERSION:  1.1'
        "#,
    );
}

#[test]
fn an_alternate_root_is_all_that_changes() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    toy("1.0", "a=1\n").datastream(dir.path());
    sandbox(
        dir.path(),
        r#"
        yes_admin
        mkdir -p /client/var/sadm/pkg/SUNWcsr /client/tmp
        status 1 pkgadd -n -a /tmp/admin -R client -d "$1/TOYsvc.pkg" all
        status 4 pkgadd -n -a /tmp/admin -R /client -d "$1/TOYsvc.pkg" all
        has "$out" '<SUNWcsr> is a prerequisite package'
        echo PKG=SUNWcsr >/client/var/sadm/pkg/SUNWcsr/pkginfo
        touch /tmp/stamp
        pkgadd -n -a /tmp/admin -R /client -d "$1/TOYsvc.pkg" all
        is "$(find /usr/bin /etc /lib/ /var/sadm -newer /tmp/stamp)" ''
        has "$(cat /client/tmp/keep.log)" 'BASEDIR=/client/ ROOT=/client'
        pkgchk -n -R /client TOYsvc
        pkginfo -q -R /client TOYsvc
        status 1 pkginfo -q TOYsvc
        pkgrm -n -a /tmp/admin -R /client TOYsvc
        [ ! -e /client/usr/bin/toy ]
        "#,
    );
}

#[test]
fn refuses_what_is_broken() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    toy("1.0", "a=1\n").datastream(dir.path());
    Toy::new("TOYbad", "1", "none")
        .line("d none opt 0755 root sys")
        .file("f none", "opt/a", "0644 root sys", "text")
        .script("preinstall", "exit 1\n")
        .write(dir.path());
    sandbox(
        dir.path(),
        r#"
        yes_admin
        head -c 3000 "$1/TOYsvc.pkg" >/tmp/short
        status 1 pkgadd -n -a /tmp/admin -d /tmp/short all
        has "$out" 'bad datastream'
        status 1 pkgadd -n -a /tmp/admin -d "$1" TOYnone
        # A script that fails: nothing is installed, and the package is known to be partial.
        status 1 pkgadd -n -a /tmp/admin -d "$1" TOYbad
        has "$out" 'preinstall script did not complete successfully'
        [ ! -e /opt/a ]
        has "$(pkginfo -l TOYbad)" 'partially installed'
        echo changed >"$1/TOYbad/reloc/opt/a"
        status 1 pkgadd -n -a /tmp/admin -d "$1" TOYbad
        has "$out" 'is corrupt'
        status 2 pkgadd -Q
        "#,
    );
}
