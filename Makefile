# make run    start the exchange with etc/pbx.toml          make shell  log in to its shell
# make test   all that CI runs, interop tests included      make check  format, lint, types and layers only
# make demo   two phones, one call                          make bench  measure, as ratios against a reference
# make docs   docs/configuration.md, and API pages into build/docs
#
# The first of them makes .venv by itself, with any Python from 3.11 on.

PYTHON ?=
CONFIG ?= etc/pbx.toml
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: run shell test check bench demo docs
.DEFAULT_GOAL := run

run: $(READY)
	exec $(VENV)/bin/twistd --nodaemon --pidfile= pbx --config $(CONFIG)

shell: $(READY)
	@command -v ssh >/dev/null || { echo "make shell needs the program ssh: sudo apt-get install -y openssh-client" >&2; exit 1; }
	@[ -e var/shell_key ] || { echo "there is no var/shell_key: start the exchange first, with make run (or log in with a key of [shell] authorized_keys)" >&2; exit 1; }
	@exec ssh -p 4222 -i var/shell_key -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=var/known_hosts admin@127.0.0.1

test: $(READY)
	@$(PY) .ci/checks.py test

check: $(READY)
	@$(PY) .ci/checks.py check

bench: $(READY)
	@$(PY) -m benchmarks

demo: $(READY)
	@$(PY) -m pbx.demo

docs: $(READY)
	@mkdir -p build
	@$(PY) -m pbx.settings_page > build/configuration.md && mv build/configuration.md docs/configuration.md
	@$(PY) -m pydoctor --project-name=pbx --project-base-dir=. --html-output=build/docs --docformat=google --make-html pbx > build/docs.log 2>&1
	@! grep -E 'bad docstring|Cannot find link target|ambiguous ref' build/docs.log

# A Python that is too old, or lacks venv, is refused with the one command that helps.
$(READY): setup.cfg pyproject.toml
	@if [ -x $(PY) ] && $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then exit 0; fi; \
	found=; seen=; \
	for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    path=$$(command -v $$python) || continue; \
	    version=$$($$path -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    if $$path -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then found=$$path; break; fi; \
	    seen="$$seen $$path is $$version;"; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "pbx needs Python 3.11 or newer, and there is none:$${seen:- no python3 at all;} install one (Debian 12 or newer: sudo apt-get install -y python3 python3-venv), or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	    exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	    version=$$($$found -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    if command -v apt-get >/dev/null; then remedy="sudo apt-get install -y python$$version-venv"; \
	    elif command -v dnf >/dev/null; then remedy="sudo dnf install -y python$$version"; \
	    else remedy="install the venv module of $$found"; fi; \
	    echo "$$found cannot make virtual environments: $$remedy" >&2; \
	    exit 1; \
	fi; \
	echo "making $(VENV) with $$found"; \
	$$found -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]' || { echo "the dependencies could not be installed: is the package index reachable?" >&2; exit 1; }
	@touch $@
