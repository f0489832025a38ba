# Two commands: `make demo` and `make test`. Everything they need is installed by the first one that is called.
# Beneath them: uv (put into .tools/ when it is not on the PATH) and pyproject.toml. Both are safe to repeat.

PYTHON ?= python3
UV_VERSION := 0.13.9
OWN_UV := .tools/uv/bin/uv
UV ?= $(or $(shell command -v uv 2>/dev/null),$(OWN_UV))
RUN := .venv/bin/
SYNC := $(UV) sync --quiet --python 3.11

.DEFAULT_GOAL := help
.PHONY: help install install-core demo test test-core test-oldest lint format generate clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(OWN_UV):
	@echo "== uv is not on the PATH: installing uv $(UV_VERSION) into .tools/"
	@$(PYTHON) -m venv .tools/uv
	@.tools/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The stamps make a second call cost nothing; a changed pyproject.toml installs again.
.venv/.train: pyproject.toml $(if $(filter $(OWN_UV),$(UV)),$(OWN_UV))
	@echo "== installing posetools with the OpenMMLab stack into .venv/ (the first time on a machine: 2 to 5 minutes"
	@echo "   of downloads, 5 GB, then 5 to 20 minutes in which mmcv's ops are compiled; later: seconds)"
	@$(SYNC) --extra train --extra dev
	@touch .venv/.train .venv/.core

.venv/.core: pyproject.toml $(if $(filter $(OWN_UV),$(UV)),$(OWN_UV))
	@echo "== installing posetools without the OpenMMLab stack into .venv/"
	@$(SYNC) --inexact --extra dev
	@touch .venv/.core

install: .venv/.train  ## install everything into .venv/ (core, OpenMMLab stack, tests)

install-core: .venv/.core  ## install what the commands before training need, and the tests

demo: install  ## the whole road on rendered cars: labelme files in, a trained and evaluated pair out
	@$(RUN)posetools demo --out demo

test: install lint  ## everything: linters, types, all tests
	@$(RUN)pytest

test-core: install-core lint  ## the tests that need no OpenMMLab: seconds
	@$(RUN)pytest -m "not train and not slow"

test-oldest: $(if $(filter $(OWN_UV),$(UV)),$(OWN_UV))  ## install the oldest supported stack (torch 2.1.2) into .venv-oldest/ and test it
	@echo "== installing the oldest supported stack into .venv-oldest/ (compiles mmcv for torch 2.1.2 the first time)"
	@UV_PROJECT_ENVIRONMENT=.venv-oldest $(SYNC) --resolution lowest-direct --upgrade --extra train --extra dev
	@.venv-oldest/bin/pytest -m train

lint: install-core  ## ruff and mypy --strict
	@$(RUN)ruff check .
	@$(RUN)ruff format --check .
	@$(RUN)mypy

format: install-core  ## let ruff format and mend what it can
	@$(RUN)ruff check --fix .
	@$(RUN)ruff format .

clean:  ## remove the environments and what the demo made
	rm -rf .venv .venv-oldest .tools demo
