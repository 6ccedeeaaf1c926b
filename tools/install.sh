#!/bin/sh
# Installs pen where there is no pkgadd(1M), or removes it again: what "make install" and "make uninstall" do.
#
#   PREFIX=/usr/local SYSCONFDIR=/etc DESTDIR= install.sh install|uninstall
#
# The programs come from BINDIR, or are built. What an administrator has made is neither overwritten nor removed.
set -eu

prefix=${PREFIX:-/usr/local}
sysconf=${SYSCONFDIR:-/etc}
dest=${DESTDIR-}
cd "$(dirname "$0")/.."
for directory in "$prefix" "$sysconf" "${dest:-/}"; do
    case $directory in
    /*) ;;
    *)
        echo "install.sh: $directory: a full path is expected" >&2
        exit 2
        ;;
    esac
done

programs='mergelogs pen penctl penlog penlogd'
man=$dest$prefix/share/man/man1
doc=$dest$prefix/share/doc/pen

# put MODE FILE DIRECTORY: a copy of the file
put() {
    to=$3/$(basename "$2")
    mkdir -p "$3"
    # A program that runs keeps its own.
    rm -f "$to"
    cp "$2" "$to"
    chmod "$1" "$to"
}

case ${1-} in
install)
    bin=${BINDIR:-$(sh tools/build.sh -d)}
    for program in $programs; do
        put 755 "$bin/$program" "$dest$prefix/bin"
    done
    for page in man1/*.1; do
        put 644 "$page" "$man"
    done
    for text in doc/README doc/HOWTO doc/*.txt; do
        put 644 "$text" "$doc"
    done
    for text in doc/howto/*; do
        put 644 "$text" "$doc/howto"
    done
    for text in doc/examples/*; do
        # These are of use to smf(5) alone.
        case $text in */health | */health.xml) continue ;; esac
        [ -d "$text" ] || put 644 "$text" "$doc/examples"
    done
    for text in doc/examples/systemd/*; do
        put 644 "$text" "$doc/examples/systemd"
        sed "s|/usr/local/bin/|$prefix/bin/|" "$text" >"$doc/examples/systemd/$(basename "$text")"
    done
    put 644 etc/pen/pen.conf.sample "$dest$sysconf/pen"
    ;;
uninstall)
    for program in $programs; do
        rm -f "$dest$prefix/bin/$program" "$man/$program.1"
    done
    rm -rf "$doc"
    rm -f "$dest$sysconf/pen/pen.conf.sample"
    # With a configuration in it, it stays.
    rmdir "$dest$sysconf/pen" 2>/dev/null || :
    ;;
*)
    echo 'usage: install.sh install|uninstall' >&2
    exit 2
    ;;
esac
