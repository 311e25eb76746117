# Five commands; each does its own set-up on a machine with Python 3.11 or newer.
#   make demo    re-shoot the shipped clip on this machine's processor -> demo/
#   make test    format, lint, types, tests
#   make studio  design a camera path in the browser
#   make lowest  a fast part of the tests with the oldest packages that pyproject.toml allows
#   make bench   seconds and memory of the renderer and of one denoising step

PYTHON ?= python3
BIN := .venv/bin
# Two threads that spin while they wait cost more than they bring on a busy machine.
export OMP_WAIT_POLICY ?= passive
DEMO_CAMERA ?= orbit-right

.PHONY: demo test studio lowest bench clean
.DELETE_ON_ERROR:

demo: .venv/core
	$(BIN)/trajectorycrafter doctor
	$(BIN)/trajectorycrafter redirect demo --camera $(DEMO_CAMERA) --out demo --overwrite

test: .venv/dev .venv/browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pytest -n 2 --dist loadfile --durations=10

studio: .venv/studio
	$(BIN)/trajectorycrafter studio demo

lowest:
	PYTHON=$(PYTHON) sh scripts/test_lowest.sh

bench: .venv/dev
	$(BIN)/python scripts/bench_render.py
	$(BIN)/python scripts/bench_studio.py
	$(BIN)/python scripts/bench_transformer.py

.venv/pip: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/core: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/studio: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[studio]'
	touch $@ .venv/core

# The pages are tested in Chromium: the system's, else from its packages, else Playwright's own. Where
# there is none, the tests of pages are skipped and say so; nothing waits longer than ten minutes.
.venv/browser: .venv/dev
	for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do \
	  command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo 'No Chromium here: installing it with apt-get, for the tests of the pages.'; \
	  timeout 120 apt-get update -qq; \
	  timeout 600 apt-get install -y -qq chromium >/dev/null && exit 0; fi; \
	echo 'No Chromium here: downloading the one of Playwright, for the tests of the pages.'; \
	timeout 300 $(BIN)/playwright install chromium \
	|| echo 'No Chromium here: the tests of the pages will be skipped.'
	touch $@

# lpips itself, which the LPIPS tests compare with, asks for torchvision but runs without it.
.venv/dev: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps lpips==0.1.4
	touch $@ .venv/core

clean:
	rm -rf .venv .venv-lowest demo out build .pytest_cache .ruff_cache
