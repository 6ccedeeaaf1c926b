#!/bin/sh
# The linker of `cargo xtask link-solaris`. There are no libraries of Solaris to link with: it puts a program together as
# far as that goes without them, so that nm(1) tells what is needed from them. What it was given, as it would have been
# given to the compiler of the target, is left in PROGRAM.arguments beside the program, one argument a line.
set -eu

output=
is_output=no
for argument in "$@"; do
    case $is_output:$argument in
    yes:*)
        output=$argument
        is_output=no
        ;;
    no:-o) is_output=yes ;;
    esac
done
# From .../release/deps/pen-0123456789abcdef, which cargo then links to .../release/pen.
program=$(basename "$output")
printf '%s\n' "$@" >"$(dirname "$output")/../${program%-*}.arguments"

# Of the arguments, only what is to be linked.
for argument in "$@"; do
    shift
    case $argument in
    *.o | *.rlib | *.a) set -- "$@" "$argument" ;;
    esac
done
exec ld -m elf_x86_64 --gc-sections --unresolved-symbols=ignore-all -e main -o "$output" --start-group "$@" --end-group
