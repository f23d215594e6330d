.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/installed: pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade-strategy only-if-needed --editable '.[dev]'
	touch $@

install: .venv/installed  ## make .venv and install the package with its development tools (about 6 GB, PyTorch is most of it)

demo: install  ## compare two losses with cross-entropy on embedded data: a table, and report.html (1 to 3 minutes on two cores)
	@echo "21 short trainings: 1 to 3 minutes on two cores. Ctrl-C stops them; make demo goes on."
	$(BIN)/python experiments/losses.py run --name demo --losses ce,ce-dice,dice --learning_rates 3e-3 --architecture Linknet --encoder tu-mobilenetv3_small_050 --data.source.image_size 32 --data.source.num_shapes 3 --data.source.num_train 160 --epochs 6 --seeds 7 --jobs 2

test: install  ## run the tests that matter most, a file to each core (about 8 minutes on two cores)
	$(PYTEST) -m "not slow and not weekly and not cluster"

coverage: install  ## run the quick tests, and fail if they pass fewer lines and branches than the floor in pyproject.toml
	$(PYTEST) -m "not slow and not weekly and not cluster" --cov

test-slow: install  ## run the slow tests, which `make test` leaves out
	$(PYTEST) -m "slow and not weekly and not cluster"

test-all: test test-slow  ## run all tests but those of `make test-cluster`

.venv/peers: .venv/installed
	$(BIN)/pip install --quiet --upgrade-strategy only-if-needed --editable '.[dev,peers]'
	touch $@

test-peers: .venv/peers  ## compare losses, metrics and penalties with MONAI, kornia, pyproximal and others; installs these three (about 50 MB)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs tests/peers

test-weekly: .venv/peers  ## run the full matrices, the longest trainings and the comparisons with other libraries (takes hours)
	$(PYTEST) -m weekly
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs tests/peers

test-cluster: install  ## run the tests that bring up a Slurm and a Grid Engine of their own: as root, where they are there or apt-get can install them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster -rs tests/cluster

check: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs  ## build the documentation into build/site; a broken link fails
	$(BIN)/python -m docs.site.commands
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml

.venv/docs: .venv/installed
	$(BIN)/pip install --quiet --upgrade-strategy only-if-needed --editable '.[dev,docs]'
	touch $@

test-lowest:  ## run the quick tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	$(PYTHON) -m venv .venv-lowest && .venv-lowest/bin/pip install --quiet uv
	VIRTUAL_ENV=.venv-lowest .venv-lowest/bin/uv pip install --quiet --resolution lowest-direct --editable '.[dev]'
	$(MAKE) test BIN=.venv-lowest/bin --assume-old=install

test-newest:  ## run the quick tests with the newest versions of everything, ceilings or not, in .venv-newest
	$(PYTHON) -m venv .venv-newest && .venv-newest/bin/pip install --quiet --editable '.[dev]'
	.venv-newest/bin/pip install --quiet --upgrade torch torchvision lightning segmentation-models-pytorch timm 'jsonargparse[signatures]'  # with torch's own libraries
	$(MAKE) test BIN=.venv-newest/bin --assume-old=install

bench: install  ## what the framework costs: ratios, measured side by side; ONLY="data step" for some
	$(BIN)/python -m tests.benchmarks $(ONLY)

.venv/bench-peers: .venv/installed
	$(BIN)/pip install --quiet --upgrade-strategy only-if-needed --editable '.[dev,bench-peers]'
	touch $@

bench-peers: .venv/bench-peers  ## race a loop by hand, seglab, Lightning, TorchGeo, Hugging Face's Trainer and fastai; installs the last three (about 700 MB)
	$(BIN)/python -m tests.benchmarks race

.PHONY: help install demo test coverage test-slow test-all test-peers test-weekly test-cluster test-lowest test-newest check docs bench bench-peers
