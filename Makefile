# Two commands matter: `make demo` shows the system at work, `make test` proves it.
# Everything runs in .venv, which `make setup` makes; nothing else on the machine is needed but Python 3.11.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
RUN := .venv/bin/python
N ?= 1
HOURS ?= 20
SEED ?= 0
JOBS ?= $(shell nproc)
MINUTES ?= 10

.PHONY: help setup demo test lint docs functional test-long chaos soak planted bench bench-check bench-peers clean

help:
	@echo 'make demo             a real cluster on this machine: upload, kill, download, heal'
	@echo 'make test             everything: lint, types, arrows, documents, tests, planted bugs'
	@echo 'make lint             ruff, mypy and the arrows between packages'
	@echo 'make docs             bring doc/failures.md up to date and check the documents'
	@echo 'make functional N=10  the tests on real processes, N times, up to the first failure'
	@echo 'make planted          prove that each planted bug turns its test red'
	@echo 'make soak HOURS=20    so many virtual hours of a simulated cluster under faults, from SEED on'
	@echo 'make test-long        what takes hours: all graphs, 10,000 crash states, 1,000 seeds twice, blind hunts'
	@echo 'make chaos            kill, stop, partition and fill up a real cluster for ten minutes'
	@echo 'make bench            measure this machine and the system on it'
	@echo 'make bench-check      count what an operation costs: calls, receives, sends, jobs, syncs; none may grow'
	@echo 'make bench-peers      the same work through SeaweedFS, MooseFS and etcd (root, Debian)'
	@echo 'make clean            remove what was made, but not .venv'

setup:
	@test -n "$(PYTHON)" || { echo 'setup: Python 3.11 or newer is needed (Debian, Ubuntu: apt install python3)'; exit 1; }
	@$(PYTHON) tools/bootstrap.py

demo: setup
	@DFS_DEAD_AFTER=5 $(RUN) -m dfs.cli.demo

test: setup
	@$(RUN) tools/check.py

lint: setup
	@$(RUN) tools/check.py lint

docs: setup
	@$(RUN) tools/failures.py
	@$(RUN) tools/check.py documents

functional: setup
	@$(RUN) tools/check.py functional --times $(N)

test-long: setup
	@$(RUN) tools/long.py

chaos: setup
	@$(RUN) -m bench.chaos --minutes $(MINUTES)

planted: setup
	@$(RUN) tools/planted.py

soak: setup
	@$(RUN) -m dfs.cli.main sim --seed $(SEED) --hours $(HOURS) --jobs $(JOBS) --shrink

bench: setup
	@$(RUN) -m bench.run

bench-check: setup
	@$(RUN) -m bench.counts --check

bench-peers: setup
	@test -d .build/peers || $(RUN) -m bench.peers.install
	@$(RUN) -m bench.peers.run

clean:
	rm -rf .build build dist _trial_temp* .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
