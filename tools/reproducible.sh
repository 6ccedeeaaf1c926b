#!/bin/sh
# Builds the committed sources twice, in two places and with two paths of CARGO_HOME, and compares the programs byte for
# byte. Takes some minutes.
set -eu

cd "`dirname "$0"`/.."
top=`pwd`
home=${CARGO_HOME:-${HOME:-}/.cargo}
scratch=`mktemp -d "${TMPDIR:-/tmp}/pen-reproducible.XXXXXX"`
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR

# build PLACE HOME: prints the directory of the programs
build()
{
    git clone --quiet "$top" "$1"
    CARGO_HOME=$2 sh "$1/tools/build.sh" -d
}

# Another path to the same sources of the dependencies.
mkdir -p "$scratch/elsewhere/and deeper"
ln -s "$home" "$scratch/elsewhere/home"
one=`build "$scratch/one" "$home"`
two=`build "$scratch/elsewhere/and deeper/two" "$scratch/elsewhere/home"`
different=0
for program in mergelogs pen penctl penlog penlogd; do
    cmp "$one/$program" "$two/$program" || different=1
done
[ $different = 0 ] || exit 1
echo 'both builds have made the same programs'
