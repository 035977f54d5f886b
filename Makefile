# synhop: `make demo` shows it at work, `make test` proves it. Both install what they lack by apt.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# Namespaces, eBPF and packet capture need root: the lab and the tests run through this.
AS_ROOT := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo -E env "PATH=$$PATH")

.PHONY: all demo test bench install uninstall lint doc clean packages-build packages-demo packages-test binaries

all: binaries

packages-build packages-demo packages-test: packages-%:
	@.ci/packages $*

# What the lab and its tests start: they look for these beside their own executable's folder.
binaries: packages-build
	$(CARGO) build --release --locked -p synhop -p synhop-preload -p synhop-node -p synhop-lab

demo: packages-demo binaries
	$(AS_ROOT) target/release/synhop-lab demo

test: packages-test
	@.ci/test

bench: packages-test binaries
	$(AS_ROOT) target/release/synhop-lab bench

lint:
	@.ci/lint

doc: packages-build
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

install: binaries
	install -D -m 755 target/release/synhop $(DESTDIR)$(PREFIX)/bin/synhop
	install -D -m 755 target/release/synhop-node $(DESTDIR)$(PREFIX)/bin/synhop-node
	install -D -m 755 target/release/synhop-lab $(DESTDIR)$(PREFIX)/bin/synhop-lab
	install -D -m 644 target/release/libsynhop_preload.so $(DESTDIR)$(PREFIX)/lib/synhop/libsynhop_preload.so
	install -D -m 644 wireshark-dissector/synhop.lua $(DESTDIR)$(PREFIX)/share/synhop/synhop.lua
	install -D -m 644 option-spec/SPEC.md $(DESTDIR)$(PREFIX)/share/doc/synhop/SPEC.md
	install -D -m 644 proxy-node/node/examples/node.toml $(DESTDIR)$(PREFIX)/share/doc/synhop/node.toml

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/synhop $(DESTDIR)$(PREFIX)/bin/synhop-node $(DESTDIR)$(PREFIX)/bin/synhop-lab
	rm -rf $(DESTDIR)$(PREFIX)/lib/synhop $(DESTDIR)$(PREFIX)/share/synhop $(DESTDIR)$(PREFIX)/share/doc/synhop

clean:
	$(CARGO) clean
