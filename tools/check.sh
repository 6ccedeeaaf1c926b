#!/bin/sh
# Every check of the project, one after the other, and a summary. A check that a missing tool makes impossible is
# skipped, and the summary says why; one that fails does not keep the others from being run.
#
#   check.sh [step...]      steps: fmt clippy deny tests portable event_ports doctests rustdoc fuzz solaris demo; all by default
set -u

cd "$(dirname "$0")/.." || exit 2
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
summary=$target/check-summary
: >"$summary"
failed=0
steps=${*:-fmt clippy deny tests portable event_ports doctests rustdoc fuzz solaris demo}

wanted() {
    case " $steps " in
    *" $1 "*) return 0 ;;
    *) return 1 ;;
    esac
}

# has PROGRAM [ARGUMENT...]: whether it can be run
has() {
    "$@" >/dev/null 2>&1
}

skip() {
    printf 'skipped: %s: %s\n' "$1" "$2" | tee -a "$summary"
}

# step NAME COMMAND [ARGUMENT...]
step() {
    name=$1
    shift
    printf '\n==> %s\n' "$name"
    if "$@"; then
        printf 'passed:  %s\n' "$name" >>"$summary"
    else
        printf 'FAILED:  %s\n' "$name" >>"$summary"
        failed=1
    fi
}

# Runs the tests, then tells which of them could not be run here: such a test says "skipped: ..." and passes.
# shellcheck disable=SC2317 # step runs it
nextest() {
    report=$target/nextest/default/junit.xml
    rm -f "$report"
    "$cargo" nextest run --workspace --locked --no-fail-fast
    status=$?
    skips "$report"
    return "$status"
}

# The same without nextest; what nextest calls tests are these kinds of targets.
# shellcheck disable=SC2317 # step runs it
plain_tests() {
    report=$target/tests.log
    {
        "$cargo" test --workspace --locked --no-fail-fast --lib --bins --tests --examples -- --show-output
        echo "status $?"
    } >"$report" 2>&1
    grep -E '^(test |test result|running|     Running|error|FAILED|failures:)|panicked at' "$report"
    skips "$report"
    [ "$(sed -n '$s/^status //p' "$report")" = 0 ] || {
        echo "all of it is in $report"
        return 1
    }
}

# shellcheck disable=SC2317 # step runs it
skips() {
    [ -f "$1" ] || return 0
    grep -ho 'skipped: .*' "$1" | sed 's/<.*//' | sort -u | sed 's/^skipped: /skipped: tests: /' | tee -a "$summary"
}

if wanted fmt; then
    if has "$cargo" fmt --version; then
        step 'format' "$cargo" fmt --all --check
    else
        skip format 'no rustfmt (rustup component add rustfmt)'
    fi
fi
if wanted clippy; then
    if has "$cargo" clippy --version; then
        step clippy "$cargo" clippy --workspace --all-targets --locked -- -D warnings
    else
        skip clippy 'no clippy (rustup component add clippy)'
    fi
fi
if wanted deny; then
    deny='cargo-deny'
    [ ! -x target/tools/bin/cargo-deny ] || deny=target/tools/bin/cargo-deny
    if has "$deny" --version; then
        step 'licences and sources' "$deny" --workspace --locked check bans licenses sources
    else
        skip 'licences and sources' 'no cargo-deny, on the path or in target/tools/bin'
    fi
fi
if wanted tests; then
    if has "$cargo" nextest --version; then
        step tests nextest
    else
        step 'tests (without nextest)' plain_tests
    fi
fi
if wanted portable; then
    # The data path as on a system without what only Linux has. Tests of whole programs cover both ways by themselves.
    step 'tests of the data path, portable' env PEN_PORTABLE=1 "$cargo" test --locked --lib --quiet net::
fi
if wanted event_ports; then
    if has "$cargo" nextest --version; then
        step 'tests over emulated event ports' "$cargo" xtask check-event-ports
    else
        skip 'tests over emulated event ports' 'no cargo-nextest'
    fi
fi
if wanted doctests; then
    step 'documentation tests' "$cargo" test --workspace --locked --doc --quiet
fi
if wanted rustdoc; then
    # Private items may be linked to from the documentation, which is read in the source.
    step documentation env RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' \
        "$cargo" doc --workspace --locked --no-deps --document-private-items --quiet
fi
if wanted fuzz; then
    # Run with cargo-fuzz; here they are compiled, so that they follow what they test.
    step 'fuzz targets' "$cargo" check --manifest-path fuzz/Cargo.toml --locked --quiet --target-dir "$target/fuzz"
fi
if wanted solaris; then
    toolchain=${SOLARIS_TOOLCHAIN:-/usr/bin}
    if ! has "$toolchain/cargo" --version || ! has "$toolchain/rustc" --version; then
        skip 'type-check for Solaris and illumos' "no $toolchain/cargo (install cargo-web, rustc-web, rust-web-src)"
    elif ! [ -f "$("$toolchain/rustc" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; then
        skip 'type-check for Solaris and illumos' 'no sources of the standard library (install rust-web-src)'
    else
        step 'type-check for Solaris and illumos' "$cargo" xtask check-solaris
    fi
fi
if wanted demo; then
    # The programs that the tests were run with: the demo is the same with either build.
    step demo sh -c '"$1" build --locked --bins && "$1" xtask demo --once --bin "$2/debug"' demo "$cargo" "$target"
fi

printf '\n==> summary\n'
cat "$summary"
exit "$failed"
