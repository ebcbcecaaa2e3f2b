# Everything a person or CI does with the repository. The virtual environment is made on first use, from
# requirements.lock; another Python: make PYTHON=python3.12 …

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SOURCES := src tests bench docs web

.PHONY: help demo web test check lint format kernel interop fuzz nightly bench-ice bench-media lock clean

help:
	@echo "make demo      calls through four networks, one with pictures, drawn (about a minute)"
	@echo "make web       JsSIP for the web phone, from npm into the source tree (built packages have it)"
	@echo "make test      the tests that need nothing but Python"
	@echo "make check     format, lint, types, layers, then make test"
	@echo "make kernel    tests on real kernel NATs (root or user namespaces; nftables, iproute2)"
	@echo "make interop   tests against coturn, aioice, libnice, pion, baresip, linphonec and Chromium"
	@echo "make nightly   the laws of ICE over 20 000 random networks (half an hour and more)"
	@echo "make fuzz      an hour of searching for bytes that break a parser (FUZZ_SECONDS=600: ten minutes)"
	@echo "make bench-ice our agent beside aioice, libnice and pion: time to connect, CPU (a quarter of an hour)"
	@echo "make bench-media CPU of calls, ours beside aiortc and baresip; calls a core carries; leaks (half an hour)"
	@echo "make format    format the code"
	@echo "make lock      resolve requirements.lock anew from pyproject.toml"
	@echo "make clean     remove everything made here, the virtual environment too"

demo: $(READY)
	@$(BIN)/iceway demo

web: $(READY)
	@$(BIN)/python web/build.py

# One worker more than processors: some tests wait for real programs.
test: $(READY)
	@$(BIN)/pytest -n $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )) --dist worksteal -m "not interop and not kernel"

check: lint test

lint: $(READY)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

# One after another, since delays are measured.
kernel: $(READY)
	@$(BIN)/pytest -m kernel

# Two files at a time, since they wait for other people's programs more than they compute. Sound and pictures are compared
# as they come, which a busy machine may spoil: what fails is asked once more, alone.
interop: $(READY)
	@$(BIN)/pytest -n 2 --dist loadfile -m interop || \
	  $(BIN)/pytest -m interop --last-failed --last-failed-no-failures none

nightly: $(READY)
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m tests.properties

FUZZ_SECONDS ?= 3600

# atheris is not in requirements.lock: few need it, and not every Python and platform has a wheel of it.
fuzz: $(READY)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install --quiet --only-binary :all: atheris || \
	  { echo "atheris has no wheel for this Python; make PYTHON=python3.11 fuzz"; exit 3; }
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

bench-ice: $(READY)
	@$(BIN)/python bench/ice/run.py

bench-media: $(READY)
	@$(BIN)/python bench/media/run.py
	@$(BIN)/python bench/media/many.py
	@$(BIN)/python bench/media/leak.py

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "iceway needs Python 3.11 or newer as $(PYTHON); name another: make PYTHON=python3.12"; exit 3; }
	@test -x $(BIN)/pip || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing; as root: apt-get install python3-venv"; exit 3; }
	@echo "Preparing .venv (once; about a minute)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Wants uv. No index addresses go into the file: whoever installs uses the registry of his own settings.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock

clean:
	rm -rf src/iceway/web/page/jssip* .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* \
	  build dist demo-out
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
