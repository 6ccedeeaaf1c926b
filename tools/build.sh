#!/bin/sh
# Builds the five programs as they are delivered, and asks cargo where they are. A Bourne shell will do.
#
#   build.sh          builds
#   build.sh -d       builds, and prints the directory that holds them
#
# No path of this machine gets into them, so that two machines make the same programs of the same sources.
set -eu

where=no
case ${1-} in
'') ;;
-d) where=yes ;;
*)
    echo 'usage: build.sh [-d]' >&2
    exit 2
    ;;
esac
cd "`dirname "$0"`/.."
cargo=${CARGO:-cargo}
top=`pwd`
home=${CARGO_HOME:-${HOME:-}/.cargo}

# The directory with the sources of the dependencies is named by the address of the registry, so it is mapped too. It has
# to be there before the build.
[ -d "$home/registry/src" ] || "$cargo" fetch --locked --quiet

# One a line. For rustc the last of these that fits counts.
maps="--remap-path-prefix=$home=/cargo
--remap-path-prefix=$top=/pen"
for registry in "$home"/registry/src/*; do
    [ -d "$registry" ] || continue
    maps="$maps
--remap-path-prefix=$registry=/cargo/registry"
done

if [ -n "${CARGO_ENCODED_RUSTFLAGS-}" ]; then
    # What is in the environment takes the place of all configuration, so the maps have to be there too.
    CARGO_ENCODED_RUSTFLAGS=`{ printf '%s\037' "$CARGO_ENCODED_RUSTFLAGS"; printf '%s' "$maps" | tr '\012' '\037'; }`
    export CARGO_ENCODED_RUSTFLAGS
    [ $# -eq 0 ] || shift $#
elif [ -n "${RUSTFLAGS-}" ]; then
    # Words, as cargo takes them; the maps may have blanks in them.
    CARGO_ENCODED_RUSTFLAGS=`{
        printf '%s' "$RUSTFLAGS" | tr -s ' \012' '\037\037'
        printf '\037'
        printf '%s' "$maps" | tr '\012' '\037'
    }`
    export CARGO_ENCODED_RUSTFLAGS
    [ $# -eq 0 ] || shift $#
else
    # Added to what the configuration has for the target.
    flags=`printf '%s\n' "$maps" | sed -e 's/[\\\\"]/\\\\&/g' -e 's/.*/"&"/' | tr '\012' ,`
    set -- --config "target.'cfg(all())'.rustflags = [$flags]"
fi
# Cargo says of each program where it is, whatever CARGO_TARGET_DIR, build.target-dir or build.target are.
programs=`{
    "$cargo" "$@" build --release --locked --bins --message-format=json-render-diagnostics || echo '! failed'
} | sed -n -e '/^! failed$/p' -e 's/.*"executable":"\([^"\\]*\)\/pen".*/\1/p'`
case $programs in
'')
    echo "build.sh: $cargo does not say where pen is" >&2
    exit 1
    ;;
*'! failed') exit 1 ;;
esac

# What the maps are for. A name that is mapped to itself is the same on every machine.
for program in mergelogs pen penctl penlog penlogd; do
    for path in "$home" "$top" "$programs"; do
        case $path in
        /cargo | /pen | /pen/*) continue ;;
        /*/*) ;;
        # A name as short as /src is a part of others, of /pen/src here: what is below it tells more.
        "$home") path=$home/registry/ ;;
        "$top") path=$top/src/ ;;
        esac
        pattern=`printf '%s' "$path" | sed 's/[][\\\\.*^$]/\\\\&/g'`
        found=0
        LC_ALL=C grep "$pattern" "$programs/$program" >/dev/null || found=$?
        case $found in
        0)
            echo "build.sh: $programs/$program contains $path, a path of this machine" >&2
            exit 1
            ;;
        1) ;;
        *) exit "$found" ;;
        esac
    done
done
[ $where = no ] || printf '%s\n' "$programs"
