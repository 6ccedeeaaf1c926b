#!/bin/sh
# Runs a command where the stand-ins are installed as the system's own commands: in private mount, process and
# network namespaces, over an overlay of / that goes away with the command. Nothing the command writes, starts or
# binds is seen outside or left behind.
#
#   sandbox.sh [-b bindir] [-r release] [-s shell] command [argument...]
#
#   -b  where the stand-ins are built; default: $CARGO_TARGET_DIR/debug, or target/debug of this project
#   -r  the system to stand for, a file in testbed/systems: illumos (the default), solaris11 or sxce
#   -s  the shell that /bin/sh is inside, a name in /usr/bin: ksh93 is what Solaris 11 has
#
# The exit status is the command's; 125 when the sandbox could not be made.

set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
fail() {
    printf 'sandbox.sh: %s\n' "$1" >&2
    exit 125
}

# ---------------------------------------------------------------------------------------------- inside, new root
# install_tree DIR: copies the files below a directory of this one to the root.
install_tree() {
    (cd "$here/$1" && find . -type f) | while read -r file; do
        mkdir -p "/$(dirname "$file")"
        cp "$here/$1/$file" "/$file"
    done
}

# system WORD: what the description of the system has behind that word.
system() {
    sed -n "s/^$1 //p" "$here/systems/$release"
}

inside() {
    dir=$1 bin=$2 release=$3 shell=$4
    shift 4
    umask 022
    # What a Solaris system has before any package of ours is there.
    mkdir -p /etc/svc/volatile /var/sadm/pkg
    cut -d' ' -f1 "$here/root/var/sadm/install/contents" | xargs mkdir -p
    mount -t tmpfs -o mode=755 tmpfs "$(readlink -f /var/run)" || fail 'no tmpfs for /var/run'
    mount -t tmpfs -o mode=755 tmpfs /etc/svc/volatile || fail 'no tmpfs for /etc/svc/volatile'
    install_tree root
    # A group of Solaris that Linux has not; the number is nobody's.
    getent group other >/dev/null || echo 'other:x:60004:root' >>/etc/group
    while read -r path _ _ mode owner group _; do
        chown "$owner:$group" "$path"
        chmod "$mode" "$path"
    done </var/sadm/install/contents
    [ "$(system rights)" != merged ] || install_tree rbac
    for name in $(system packages); do
        mkdir -p "/var/sadm/pkg/$name"
        printf 'PKG=%s\nNAME=Placeholder for %s\nARCH=i386\nVERSION=11.11\nCATEGORY=system\nCLASSES=none\n' \
            "$name" "$name" >"/var/sadm/pkg/$name/pkginfo"
    done
    # A mount and links, not copies: an account that may not search the way to where they are built runs them too.
    mkdir /lib/svc/testbed
    mount --bind "$bin" /lib/svc/testbed || fail "no mount of $bin"
    for name in sbin/pkgadd sbin/pkgrm sbin/pkgchk sbin/svcadm sbin/svccfg bin/pkginfo bin/svcs bin/svcprop; do
        [ -x "/lib/svc/testbed/${name#*/}" ] || fail "${name#*/} is not in $bin: cargo build -p pen-testbed"
        ln -sf "/lib/svc/testbed/${name#*/}" "/usr/$name"
    done
    ln -s /lib/svc/testbed/testbed-startd /lib/svc/bin/svc.startd
    [ -z "$shell" ] || ln -sf "/usr/bin/$shell" /bin/sh
    [ -e /usr/sbin/sh ] || ln -s ../bin/sh /usr/sbin/sh
    ip link set lo up || fail 'no loopback'
    cd "$dir" 2>/dev/null || cd /
    PATH=/usr/sbin:/usr/bin
    export PATH
    /lib/svc/bin/svc.startd || fail 'svc.startd does not start'
    # Not exec: this shell is process 1 and reaps what the command orphans; when it ends, all else is killed.
    status=0
    "$@" || status=$?
    exit "$status"
}

# ------------------------------------------------------------------------------- in the new namespaces, old root
# overlay DIR: what is written to DIR of the new root goes to a layer of its own.
layer=
overlay() {
    layer=x$layer
    up=$base/up/$layer
    mkdir "$up" "$base/work/$layer"
    chmod --reference="$1" "$up"
    if [ -n "$user" ]; then
        # In a user namespace the directories of the system are nobody's and cannot be written to; a directory
        # in the upper layer is ours and still shows what is in the lower one.
        { echo /var/tmp; cut -d' ' -f1 "$here/root/var/sadm/install/contents"; } | while read -r path; do
            path=$(readlink -m "$path")
            case $path in
            "$1"/*) [ ! -d "$path" ] || { mkdir -p "$up${path#"$1"}" && chmod --reference="$path" "$up${path#"$1"}"; } ;;
            esac
        done
    fi
    mount -t overlay -o "lowerdir=$1,upperdir=$up,workdir=$base/work/$layer$user" overlay "$new$1"
}

# cover DIR: a directory that has mounts below it, as /etc has in many containers, is copied where it must be
# writable and missing where it need not be.
cover() {
    case $1 in
    /etc | /var) cp -RP "$1/." "$new$1" 2>/dev/null || : ;;
    *) echo "sandbox.sh: $1 is not there inside" >&2 ;;
    esac
}

enter() {
    user=
    [ "$1" = root ] || user=,userxattr
    shift
    # A directory that is everywhere, under a tmpfs that only this namespace sees.
    base=/mnt
    mounts=$(cut -d' ' -f5 /proc/self/mountinfo | sort -u)
    kinds=$(sed 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - \([^ ]*\) .*/\1 \2/' /proc/self/mountinfo)
    mount -t tmpfs -o mode=755 tmpfs $base || fail "no tmpfs on $base"
    new=$base/root
    mkdir "$base/up" "$base/work" "$new"
    if [ -z "$user" ]; then
        overlay / || fail 'no overlay of /'
    else
        # A user namespace may not clone what others have mounted below /: each directory by itself.
        mount -t tmpfs -o mode=755 tmpfs "$new"
        for top in /*; do
            if [ -h "$top" ]; then
                cp -P "$top" "$new$top"
            elif [ -d "$top" ]; then
                mkdir "$new$top"
                case $top in
                /proc | /sys | /dev | "$base") ;;
                *) overlay "$top" 2>/dev/null || cover "$top" ;;
                esac
            fi
        done
    fi
    for point in $mounts; do
        kind=$(printf '%s\n' "$kinds" | awk -v p="$point" '$1 == p { kind = $2 } END { print kind }')
        case $point:$kind in
        /:* | /proc:* | /proc/* | /sys:* | /sys/* | /dev:* | /dev/* | "$base":* | "$base"/*) ;;
        *:proc | *:sysfs | *:cgroup* | *:autofs | *:devpts) ;;
        *) if [ -d "$point" ] && [ -d "$new$point" ]; then overlay "$point" || fail "no overlay of $point"; fi ;;
        esac
    done
    mount --rbind /dev "$new/dev"
    mount --rbind /sys "$new/sys"
    mount -t proc proc "$new/proc" || fail 'no /proc'
    dir=$PWD
    cd "$new"
    pivot_root . mnt || fail 'pivot_root'
    umount -l /mnt
    inside "$dir" "$@"
}

# --------------------------------------------------------------------------------------------------- the outside
if [ "${1-}" = --in-new-namespaces ]; then
    shift
    enter "$@"
fi
usage='usage: sandbox.sh [-b bindir] [-r release] [-s shell] command [argument...]'
bin=${CARGO_TARGET_DIR:-$here/../target}/debug
release=illumos
shell=
while getopts b:r:s: option; do
    case $option in
    b) bin=$OPTARG ;;
    r) release=$OPTARG ;;
    s) shell=$OPTARG ;;
    *) fail "$usage" ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || fail "$usage"
[ -f "$here/systems/$release" ] || fail "$release: no such file in testbed/systems"
bin=$(CDPATH='' cd -- "$bin" 2>/dev/null && pwd) || fail "$bin: no such directory"
[ -z "$shell" ] || [ -x "/usr/bin/$shell" ] || fail "/usr/bin/$shell: no such shell"
run="--mount --pid --net --fork --kill-child /bin/sh $here/sandbox.sh --in-new-namespaces"
if [ "$(id -u)" -eq 0 ]; then
    # shellcheck disable=SC2086  # words
    exec unshare $run root "$bin" "$release" "$shell" "$@"
fi
# Accounts other than root are needed: a range of subordinate ids in /etc/subuid and /etc/subgid, and newuidmap(1).
unshare --user --map-root-user --map-auto true || fail 'not root, and no user namespace with a range of ids'
# shellcheck disable=SC2086
exec unshare --user --map-root-user --map-auto $run user "$bin" "$release" "$shell" "$@"
