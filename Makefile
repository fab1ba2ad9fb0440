# What a fresh checkout needs: git, make, Python 3.11 or later, and root for what sends packets.
# The rest is fetched on first use: nftables from the distribution, Python packages into .venv.

.DELETE_ON_ERROR:
.PHONY: help demo test check lint bench fuzz soak dist man clean root nft peers namespaces masked

export PATH := $(PATH):/usr/sbin:/sbin# a plain `su` leaves nft's directory out

# The first that runs and is new enough: a name on the PATH may be a shim that only fails.
ifndef PYTHON
PYTHON := $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 \
		/usr/bin/python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
		&& echo "$$python" && break; \
	done)
endif

BIN := .venv/bin
READY := .venv/ready
# A file of tests at a time to each worker. What sends packets mostly waits: three of them to a core.
# By name, so that the many short files of tests/unit are last and nobody waits for a long one.
WORKERS ?= $(shell n=$$((3 * $$(nproc))); echo $$((n < 12 ? n : 12)))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
FAST := $(wildcard tests/cli tests/fuzz tests/golden tests/pair tests/unit)
# What the tests use besides nft, as Debian names it: real peers, and who judges our packets.
TEST_PACKAGES := chromium dbus faketime firewalld fish fonts-dejavu-core ike-scan iptables \
	krb5-admin-server krb5-kdc krb5-user libcap2-bin libstrongswan-standard-plugins man-db \
	openssh-server poppler-utils \
	prometheus samba-ad-dc samba-ad-provision strace strongswan-charon strongswan-swanctl sudo \
	systemd tcsh tshark ufw zsh
# Unpacked only: to Debian, libreswan and strongSwan exclude each other.
LIBRESWAN := .venv/libreswan
EXAMPLES ?= 3000
CASES ?= 500
RUNS ?= 200

help:
	@echo "make demo    a real verdict table, through a real firewall, on this one machine (root)"
	@echo "make test    all tests, the ones with real packets included (root)"
	@echo "make check   format, lint, types and the fast tests"
	@echo "make lint    the first three of these"
	@echo "make bench   how fast it is, as ratios (root)"
	@echo "make fuzz    the fuzz tests, with EXAMPLES as their measure ($(EXAMPLES), a quarter of an"
	@echo "             hour; make check takes 100)"
	@echo "make soak    random firewalls against an oracle, CASES of them ($(CASES)), drawn by SEED;"
	@echo "             then RUNS over a path that loses packets ($(RUNS)) (root)"
	@echo "make dist    dist/ipsec-probe.pyz: agent and probe in one file, for a host with Python alone"
	@echo "make man     write the manual pages anew, from the command lines"
	@echo "make clean   remove what make has made"

# A verdict of "not as expected" (1) is what this firewall is for; anything worse is an error.
demo: root nft $(READY)
	@echo '$$ probe lab --firewall esp-missing'
	@$(BIN)/probe lab --firewall esp-missing; code=$$?; \
	if [ $$code -gt 1 ]; then exit $$code; fi; \
	echo; echo "(exit code $$code: 0 is all as expected, 1 is not; this firewall lacks a rule)"

# Where it broke off (any code but 1), failures are not all there is to repeat: none are remembered.
test: root nft peers namespaces $(READY)
	$(PYTEST) || { code=$$?; [ $$code = 1 ] || rm -f .pytest_cache/v/cache/lastfailed; exit $$code; }

check: lint
	$(PYTEST) -q $(FAST)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: root nft namespaces $(READY)
	$(BIN)/python tests/bench.py

fuzz: $(READY)
	FUZZ_PROFILE=long FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -v tests/fuzz

soak: root nft namespaces $(READY)
	$(BIN)/python tests/soak.py --cases $(CASES) $(if $(SEED),--seed $(SEED))
	$(BIN)/python tests/soak.py --loss --runs $(RUNS)

dist: $(READY)
	$(BIN)/python packaging/make_dist.py dist/ipsec-probe.pyz

man: $(READY)
	$(BIN)/python packaging/make_man.py packaging/man

clean:
	rm -rf .venv build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

root:
	@if [ "$$(id -u)" -ne 0 ]; then \
		echo "This makes network namespaces and sends raw packets: run it as root, for example" >&2; \
		echo "    sudo make $(MAKECMDGOALS)" >&2; exit 2; \
	fi

nft:
	@command -v nft >/dev/null || { $(call apt,nftables); }

# What is installed for a test must not become this machine's own firewall at its next start.
masked:
	@[ "$$(id -u)" -ne 0 ] || command -v firewalld >/dev/null || { \
		mkdir -p /etc/systemd/system; ln -sf /dev/null /etc/systemd/system/firewalld.service; }
	@[ "$$(id -u)" -ne 0 ] || command -v sshd >/dev/null || { \
		mkdir -p /etc/systemd/system; ln -sf /dev/null /etc/systemd/system/ssh.service; }

peers: masked $(LIBRESWAN)
	@missing=$(call missing,$(TEST_PACKAGES)); [ -z "$$missing" ] || { $(call apt,$$missing); }

$(LIBRESWAN): | $(READY)
	@command -v apt-get >/dev/null || { \
		echo "Needed: Debian's libreswan, unpacked in $@" >&2; exit 2; }
	@echo "Unpacking libreswan into $@"
	@apt-get update -qq
	@libraries=$$(apt-cache depends libreswan | sed -n 's/^[ |]*Depends: \(lib.*\)/\1/p'); \
	missing=$(call missing,$$libraries); [ -z "$$missing" ] || { $(call apt,$$missing); }
	@rm -rf $@.part && mkdir $@.part && cd $@.part \
	&& apt-get download -qq -o APT::Sandbox::User=root libreswan && dpkg-deb -x *.deb .
	@mv $@.part $@

namespaces: nft
	@unshare --net nft list ruleset >/dev/null || { \
		echo "This machine does not allow network namespaces with nftables in them (a container" >&2; \
		echo "needs CAP_SYS_ADMIN and CAP_NET_ADMIN), and these tests cannot do without." >&2; exit 2; }

$(READY): setup.cfg pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11 or later was found. Install one, or name it: make PYTHON=/path" >&2; \
		exit 2; \
	fi
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(call apt,python3-venv); }
	@[ -x $(BIN)/pip ] && $(BIN)/python -c '' 2>/dev/null || { \
		echo "Making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; }
	@echo "Installing the Python packages into .venv; the first time takes about a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--root-user-action=ignore --editable '.[dev]'
	@touch $@

# Those of some Debian packages that are not installed.
missing = $$(for package in $(1); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' \
		|| echo $$package; \
	done)

# Installs Debian packages, or says which ones to install. RUNLEVEL: no service of theirs starts.
define apt
	if [ "$$(id -u)" -ne 0 ]; then \
		echo "Needed: "$(1)". Install with: sudo apt-get install" $(1) >&2; exit 2; \
	elif ! command -v apt-get >/dev/null; then \
		echo "Needed: "$(1)". Install with this system's package manager." >&2; exit 2; \
	fi; \
	echo "Installing" $(1) "with apt-get"; \
	apt-get update -qq \
	&& RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) \
		>/dev/null
endef
