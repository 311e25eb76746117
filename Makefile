# Three commands; each does its own set-up on a machine with Python 3.11 or newer.
#   make demo    re-shoot the shipped clip on this machine's processor -> demo/
#   make test    format, lint, types, tests
#   make bench   seconds and memory of the renderer and of one denoising step

PYTHON ?= python3
BIN := .venv/bin
# Two threads that spin while they wait cost more than they bring on a busy machine.
export OMP_WAIT_POLICY ?= passive
DEMO_CAMERA ?= orbit-right

.PHONY: demo test bench clean
.DELETE_ON_ERROR:

demo: .venv/core
	$(BIN)/trajectorycrafter doctor
	$(BIN)/trajectorycrafter redirect demo --camera $(DEMO_CAMERA) --out demo --overwrite

test: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pytest -n 2 --dist loadfile

bench: .venv/dev
	$(BIN)/python scripts/bench_render.py
	$(BIN)/python scripts/bench_transformer.py

.venv/pip: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/core: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

# lpips itself, which the LPIPS tests compare with, asks for torchvision but runs without it.
.venv/dev: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps lpips==0.1.4
	touch $@ .venv/core

clean:
	rm -rf .venv demo out build .pytest_cache .ruff_cache
