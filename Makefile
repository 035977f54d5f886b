# synhop: `make demo` shows it at work, `make test` proves it. Both install what they lack by apt.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# Namespaces, eBPF and packet capture need root: the lab and the tests run through this.
AS_ROOT := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo -E env "PATH=$$PATH")

PROGRAMS := synhop synhop-node synhop-lab
DOCUMENTS := option-spec/SPEC.md proxy-node/node/examples/node.toml
UNITS := client-shim/systemd/synhop-helper.service proxy-node/node/systemd/synhop-node.service

.PHONY: all demo test bench install uninstall lint deny doc manual clean binaries
.PHONY: packages-build packages-demo packages-test packages-bench packages-unikernel unikernel unikernel-demo

all: binaries

packages-build packages-demo packages-test packages-bench packages-unikernel: packages-%:
	@.ci/packages $*

# What the lab and its tests start: they look for these beside their own executable's folder.
binaries: packages-build
	$(CARGO) build --release --locked -p synhop -p synhop-preload -p synhop-node -p synhop-lab

demo: packages-demo binaries
	$(AS_ROOT) target/release/synhop-lab demo

test: packages-test
	@.ci/test

bench: packages-bench binaries
	$(AS_ROOT) target/release/synhop-lab bench
	$(AS_ROOT) target/release/synhop-lab bench throughput

# The bootable image: proxy-node/unikernel/target/image/synhop-unikernel.
unikernel: packages-build
	cd proxy-node/unikernel && $(CARGO) build --profile image --locked

# curl through the image in QEMU, alone and between two nodes of Linux's.
unikernel-demo: packages-unikernel binaries unikernel
	$(AS_ROOT) target/release/synhop-lab bench ttfb --runs 5 --builds unikernel
	$(AS_ROOT) target/release/synhop-lab bench ttfb --runs 5 --builds linux,unikernel,linux

lint:
	@.ci/lint

# Licences, advisories and sources of the dependencies; needs cargo-deny, which is long to build.
deny:
	$(CARGO) deny --locked check

doc: packages-build
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

# Man pages and completions, written from the command lines themselves.
manual: packages-build
	$(CARGO) run --release --locked --quiet -p synhop --example synhop-manual -- target/manual
	$(CARGO) run --release --locked --quiet -p synhop-node --example synhop-node-manual -- target/manual

install: binaries manual
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(PROGRAMS:%=target/release/%)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/lib/synhop target/release/libsynhop_preload.so
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 target/manual/*.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/bash-completion/completions target/manual/*.bash
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/zsh/site-functions target/manual/_synhop target/manual/_synhop-node
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d target/manual/*.fish
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/synhop wireshark-dissector/synhop.lua
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/synhop $(DOCUMENTS)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system $(UNITS)

uninstall:
	cd $(DESTDIR)$(PREFIX) && rm -f $(PROGRAMS:%=bin/%) \
	    $(addprefix lib/systemd/system/,$(notdir $(UNITS))) share/man/man1/synhop*.1 \
	    share/bash-completion/completions/synhop*.bash share/zsh/site-functions/_synhop* \
	    share/fish/vendor_completions.d/synhop*.fish
	cd $(DESTDIR)$(PREFIX) && rm -rf lib/synhop share/synhop share/doc/synhop

clean:
	$(CARGO) clean
