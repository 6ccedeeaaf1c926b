# Pen on any machine. POSIX make: GNU make and bmake read it alike.
# On Solaris, in the SFW consolidation, Makefile.sfw is the one to use.

.POSIX:
.PHONY: build demo check soak bench package clean

CARGO = cargo
# Arguments of demo and bench: make demo ARGS=--once
ARGS =

# The five programs, in target/release
build:
	@sh tools/deps.sh build
	$(CARGO) build --release --locked --bins

# Pen in front of two web servers, one of which dies and comes back
demo:
	@sh tools/deps.sh demo
	$(CARGO) xtask demo $(ARGS)

# All that must hold before a change is one
check:
	@sh tools/deps.sh check
	@sh tools/check.sh

# An hour of random conversations under commands, HUPs and moves, every byte checked; SECONDS=60 for a shorter one
SECONDS = 3600
soak:
	@sh tools/deps.sh check
	PEN_CHAOS_SECONDS=$(SECONDS) $(CARGO) test --locked --test it -- it::chaos --nocapture

# Pen side by side with others; minutes on a quiet machine
bench:
	@sh tools/deps.sh bench
	$(CARGO) build --release --locked --bins
	$(CARGO) run --release --locked --package pen-bench -- --out bench/RESULTS.md $(ARGS)
	$(CARGO) run --release --locked --package pen-bench -- logs target/release >bench/LOGS.md

# target/package: SUNWpen as a directory and as a datastream
package:
	@sh tools/deps.sh build
	$(CARGO) xtask package

clean:
	$(CARGO) clean
