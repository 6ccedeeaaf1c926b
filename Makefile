# Pen on any machine. POSIX make, with Sun make in mind: it knows no .PHONY, so a target that is
# no file depends on FORCE. On Solaris, in the SFW consolidation, Makefile.sfw is the one to use.

.POSIX:

CARGO = cargo
# Arguments of demo, package and bench: make demo ARGS=--once
ARGS =
# For install and uninstall: where it all goes, and below which root (for those who make packages).
PREFIX = /usr/local
SYSCONFDIR = /etc
DESTDIR =
# Where the programs are; empty to build them.
BINDIR =

# The five programs, where cargo puts them: in target/release, unless it is told otherwise
build: FORCE
	@sh tools/deps.sh build
	CARGO="$(CARGO)" sh tools/build.sh

# Programs, manual pages, documents and the sample configuration, below $(DESTDIR)$(PREFIX)
install: FORCE
	CARGO="$(CARGO)" BINDIR="$(BINDIR)" PREFIX="$(PREFIX)" SYSCONFDIR="$(SYSCONFDIR)" \
	    DESTDIR="$(DESTDIR)" sh tools/install.sh install

uninstall: FORCE
	PREFIX="$(PREFIX)" SYSCONFDIR="$(SYSCONFDIR)" DESTDIR="$(DESTDIR)" sh tools/install.sh uninstall

# Pen in front of two web servers, one of which dies and comes back
demo: FORCE
	@sh tools/deps.sh demo
	$(CARGO) xtask demo $(ARGS)

# Every check that a change must pass
check: FORCE
	@sh tools/deps.sh check
	@sh tools/check.sh

# What the programs need from the libraries of illumos and Solaris, compared with what is known to be there; minutes,
# for nights and for changes of dependencies
check-solaris-link: FORCE
	@sh tools/deps.sh check
	$(CARGO) xtask link-solaris

# Whether two builds in two places make the same programs; minutes, for nights and for changes of the toolchain
check-reproducible: FORCE
	@sh tools/deps.sh build
	sh tools/reproducible.sh

# An hour of random conversations under commands, HUPs and moves, every byte checked; SECONDS=60 for a shorter one
SECONDS = 3600
soak: FORCE
	@sh tools/deps.sh check
	$(CARGO) test --locked --lib -- --ignored core::queue::simulation
	PEN_CHAOS_SECONDS=$(SECONDS) $(CARGO) test --locked --test it -- it::chaos --nocapture

# Pen side by side with others; minutes on a quiet machine
bench: FORCE
	@sh tools/deps.sh bench
	$(CARGO) build --release --locked --bins
	$(CARGO) run --release --locked --package pen-bench -- --out bench/RESULTS.md $(ARGS)
	$(CARGO) run --release --locked --package pen-bench -- logs target/release >bench/LOGS.md
	$(CARGO) run --release --locked --package pen-bench -- failover >bench/FAILOVER.md
	$(CARGO) run --release --locked --package pen-bench -- checks >bench/CHECKS.md

# SUNWpen as a directory and as a datastream, in package/ of cargo's target directory
package: FORCE
	@sh tools/deps.sh build
	$(CARGO) xtask package $(ARGS)

clean: FORCE
	$(CARGO) clean

FORCE:
