//! pkgadd, pkgchk, pkginfo, pkgrm.

use crate::support::{Toy, sandbox, skipped};

/// Copies new files and keeps those that an administrator edited.
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
        # The same again: the script runs, with nothing to install.
        pkgadd -n -a /tmp/admin -d "$1/one" TOYsvc
        has "$(cat /tmp/keep.log)" 'i.keep args=ENDOFCLASS'
        hasnt "$(cat /tmp/keep.log)" 'i.keep /'
        hasnt "$(cat /tmp/keep.log)" toy.conf
        is "$(cat /etc/toy/toy.conf.sample)" edited
        # Another version: only if the admin file allows, since MAXINST is 1 where pkginfo does not set it.
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

/// The effect of a script's exit status, see pkgadd(1M).
#[test]
fn scripts_end_in_many_ways() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let scripted = |name: &'static str, install: &str, remove: &str| {
        Toy::new(name, "1", "none act")
            .line("d none opt 0755 root sys")
            .file("f none", &format!("opt/{name}"), "0644 root sys", "program")
            .file("f act", &format!("opt/{name}.act"), "0644 root sys", "text")
            .script("i.act", &format!("while read s d; do cp $s $d; done\nexit {install}\n"))
            .script("r.act", &format!("while read d; do :; done\nexit {remove}\n"))
            .write(dir.path());
    };
    scripted("TOYrefuse", "0", "1");
    scripted("TOYwarn", "2", "2");
    scripted("TOYstop", "1", "0");
    scripted("TOYinterrupt", "3", "0");
    scripted("TOYreboot", "10", "20");
    scripted("TOYodd", "7", "0");
    sandbox(
        dir.path(),
        r#"
        yes_admin
        add() { want=$1; shift; status "$want" pkgadd -n -a /tmp/admin -d "$dir" "$@"; }
        dir=$1
        remove() { status "$1" pkgrm -n -a /tmp/admin "$2"; }
        # 1 is fatal: what the other classes have stays.
        add 0 TOYrefuse
        remove 1 TOYrefuse
        [ -e /opt/TOYrefuse ]
        has "$(pkginfo -l TOYrefuse)" 'partially installed'
        add 1 TOYstop
        has "$out" 'Installation of <TOYstop> failed.'
        # 2 is no more than a warning: all goes on, and the program is removed.
        add 2 TOYwarn
        has "$out" 'Installation of <TOYwarn> partially failed.'
        has "$out" 'i.act script did not complete successfully'
        remove 2 TOYwarn
        [ ! -e /opt/TOYwarn ]
        add 3 TOYinterrupt
        add 10 TOYreboot
        remove 20 TOYreboot
        [ ! -e /opt/TOYreboot ]
        add 1 TOYodd
        "#,
    );
}

/// A package may be installed more than once, if it says so and the admin file does not forbid it.
#[test]
fn instances_are_counted() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (place, version) in [("one", "1.0"), ("two", "2.0"), ("three", "3.0")] {
        Toy::new("TOYmany", version, "none")
            .info("MAXINST=1000")
            .line("d none opt 0755 root sys")
            .file("f none", &format!("opt/{version}"), "0644 root sys", version)
            .write(&dir.path().join(place));
    }
    sandbox(
        dir.path(),
        r#"
        # The default admin file.
        pkgadd -n -d "$1/one" TOYmany
        pkgadd -n -d "$1/one" TOYmany
        pkgadd -n -d "$1/two" TOYmany
        has "$(pkginfo -l TOYmany.2)" 'VERSION:  2.0'
        has "$(pkginfo -l TOYmany)" 'VERSION:  1.0'
        yes_admin overwrite
        # Which of them is meant nobody can tell.
        status 4 pkgadd -n -a /tmp/admin -d "$1/three" TOYmany
        pkgrm -n -a /tmp/admin TOYmany.2
        pkgadd -n -a /tmp/admin -d "$1/three" TOYmany
        is "$(ls -d /var/sadm/pkg/TOYmany*)" /var/sadm/pkg/TOYmany
        yes_admin quit
        status 4 pkgadd -n -a /tmp/admin -d "$1/three" TOYmany
        "#,
    );
}

/// The state that a script finds: the record of the old version is moved away, the new sums are in the contents
/// database, and the files do not yet have the package's modification times.
#[test]
fn scripts_run_in_the_middle() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    const SCRIPT: &str = "
        while read src dest; do cp $src $dest; touch $dest; listed=yes; done
        echo old > /tmp/saved; ls $PKGSAV/mine >>/tmp/saved 2>&1
        mkdir -p $PKGSAV && touch $PKGSAV/mine
        grep '^/opt/act ' /var/sadm/install/contents | cut -d' ' -f7 >/tmp/size
        [ -z \"$listed\" ] || stat -c %Y /opt/act >/tmp/time
        echo on stderr >&2
    ";
    for (place, version, text) in [("one", "1.0", "a"), ("two", "2.0", "abc")] {
        Toy::new("TOYact", version, "none act")
            .line("d none opt 0755 root sys")
            .file("f act", "opt/act", "0644 root sys", text)
            .script("i.act", SCRIPT)
            .script("postinstall", "touch /opt/act\n")
            .write(&dir.path().join(place));
    }
    sandbox(
        dir.path(),
        r#"
        yes_admin overwrite
        # Both streams of a script are pkgadd's standard output.
        has "$(pkgadd -n -a /tmp/admin -d "$1/one" TOYact 2>/dev/null)" 'on stderr'
        is "$(cat /tmp/size)" 1
        [ "$(cat /tmp/time)" != 1262304000 ]
        # What is done after the class lasts.
        [ "$(stat -c %Y /opt/act)" != 1262304000 ]
        pkgadd -n -a /tmp/admin -d "$1/one" TOYact
        hasnt "$(cat /tmp/saved)" 'No such file'
        pkgadd -n -a /tmp/admin -d "$1/two" TOYact
        has "$(cat /tmp/saved)" 'No such file'
        is "$(cat /tmp/size)" 3
        [ ! -e /var/sadm/pkg/.save.TOYact ]
        "#,
    );
}

/// How a class action script is run: once per installation, with ENDOFCLASS, even if the package has no file of its
/// class; by /sbin/sh whatever its first line says; its standard output is pkgadd's, and so the terminal if that is
/// one.
#[test]
fn class_scripts_run_once_by_sbin_sh_with_the_output_of_pkgadd() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    const SCRIPT: &str = "#!/bin/false
        files=`cat`
        shell=`tr '\\000' ' ' </proc/$$/cmdline`
        output=none
        [ ! -t 1 ] || output=terminal
        [ ! -t 2 ] || output=$output,terminal
        echo \"$# $1 <$files> ${shell%% *} $output\" >>/tmp/ran
        echo on stdout
        echo on stderr >&2
    ";
    Toy::new("TOYrun", "1.0", "none two empty")
        .line("d none opt 0755 root sys")
        .file("f two", "opt/first", "0644 root sys", "a")
        .file("f two", "opt/second", "0644 root sys", "b")
        .script(
            "i.two",
            &format!(
                "{SCRIPT}\necho \"$files\" | while read src dest; do [ -z \"$src\" ] || cp $src $dest; done\n"
            ),
        )
        .script("i.empty", SCRIPT)
        .write(dir.path());
    sandbox(
        dir.path(),
        r#"
        yes_admin overwrite
        add="pkgadd -n -a /tmp/admin -d $1 TOYrun"
        is "$($add 2>/dev/null | grep -c '^on std')" 4
        from=$1/TOYrun/reloc
        is "$(cat /tmp/ran)" "1 ENDOFCLASS <$from/opt/first /opt/first
$from/opt/second /opt/second> /sbin/sh none
1 ENDOFCLASS <> /sbin/sh none"
        rm /tmp/ran
        # Nothing is to be done, and each script runs once all the same; here with a terminal for standard output.
        command -v script >/dev/null || { echo 'skipped: no script(1) for a terminal'; exit 0; }
        script -qec "$add" /tmp/typescript </dev/null >/dev/null || { cat /tmp/typescript; exit 1; }
        is "$(cat /tmp/ran)" '1 ENDOFCLASS <> /sbin/sh terminal,terminal
1 ENDOFCLASS <> /sbin/sh terminal,terminal'
        "#,
    );
}

/// Two packages may share a directory if they agree on its owner.
#[test]
fn shared_paths_that_differ_are_conflicts() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    Toy::new("TOYmine", "1", "none").line("d none usr/share/doc 0755 root sys").write(dir.path());
    Toy::new("TOYtheirs", "1", "none").line("d none usr/share/doc ? ? ?").write(dir.path());
    sandbox(
        dir.path(),
        r#"
        yes_admin
        status 4 pkgadd -n -a /tmp/admin -d "$1" TOYmine
        has "$out" '/usr/share/doc is already installed and in use by <SUNWcsr> (attribute change only)'
        pkgadd -n -a /tmp/admin -d "$1" TOYtheirs
        is "$(stat -c '%U %G' /usr/share/doc)" 'root other'
        pkgchk TOYtheirs
        "#,
    );
}
