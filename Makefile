# On a fresh machine with Python 3.11 or later, `make demo` and `make test` set up everything.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Installations leave the compilation of bytecode to the first import, which must store it.
unexport PYTHONDONTWRITEBYTECODE
# Test processes that run in parallel; each takes about 2 GB.
WORKERS ?= 2

.PHONY: help demo test test-long checks lint types layers docs site unit test-backends test-distributed native native-sanitize package wheels release-check notebooks clean venv-demo venv-dev venv-backends venv-distributed venv-release venv-notebooks

help:
	@echo "make demo           forecast a real series and draw it"
	@echo "make test           format, lint, types, layers, docs, tests, doctests, examples"
	@echo "make test-long      the tests with ten times as many examples of each property"
	@echo "make test-backends  the tests that also run on JAX and PyTorch, on both"
	@echo "make test-distributed  the tests of Ray, Ray Train, Dask and Spark; needs a Java runtime"
	@echo "make site           add the site of this version to those in SITE=FOLDER"
	@echo "make native         build the native library in place"
	@echo "make native-sanitize  run the native library under sanitizers"
	@echo "make notebooks      run the whole gallery in Jupyter, and write its pages: ten minutes"
	@echo "make package        build the wheel and the sdist, install and import each"
	@echo "make wheels         build the wheels of all platforms in dist, check and test them"
	@echo "make release-check  prove that a release could be made: one to two hours, 30 GB"
	@echo "make clean          remove .venv and build outputs"

demo: venv-demo
	@$(BIN)/seqkeras demo

test: checks unit

checks: lint types layers docs

lint: venv-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv-dev
	$(BIN)/mypy

layers: venv-dev
	$(BIN)/lint-imports --no-cache

docs: venv-dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@$(BIN)/python .ci/llms.py docs/_build/html
	@$(BIN)/python .ci/links.py docs/_build/html

# The folder of a static host that has the sites of all versions.
SITE ?= docs/_build/site
site:
	rm -rf docs/_build/html
	$(MAKE) docs
	$(BIN)/python docs/_versions.py docs/_build/html $(SITE)

unit: venv-dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations=20

test-long: venv-dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations=20 --hypothesis-profile=long

# JAX spends most of the time of a test on compilation: make it quick, and share it in a cache.
JAX := KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR=$(CURDIR)/build/jax \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=0 \
	XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
	--xla_cpu_use_fusion_emitters=false"

BACKENDS := .venv/backends/bin/python $(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m backends
test-backends: venv-backends
	$(JAX) $(BACKENDS) tests
	KERAS_BACKEND=torch $(BACKENDS) tests

# The last bits of a fit depend on the number of threads: that of the workers.
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1

test-distributed: venv-distributed
	$(ONE_THREAD) .venv/distributed/bin/python $(BIN)/pytest -q --durations=10 tests/engines \
		tests/training/test_ray_train.py

native: venv-dev
	SEQKERAS_BUILD_NATIVE=1 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .

native-sanitize:
	.ci/sanitize.sh

package: venv-dev
	$(PYTHON) .ci/package.py

wheels: venv-release
	.venv/release/bin/python .ci/wheels.py

release-check: venv-release
	.venv/release/bin/python .ci/release.py

notebooks: venv-notebooks
	.venv/notebooks/bin/python docs/_gallery.py

clean:
	rm -rf .venv build dist docs/_build *.egg-info

venv-demo:
	@$(PYTHON) .ci/venv.py demo -e ".[tensorflow,plot]"

venv-dev:
	@$(PYTHON) .ci/venv.py dev -e ".[dev]"

# The release of PyTorch that the tests run with; any from 2.6 on should work.
venv-backends: venv-dev
	@$(PYTHON) .ci/venv.py --layer backends "seqkeras[jax]" torch==2.13.0

venv-distributed: venv-dev
	@$(PYTHON) .ci/venv.py --layer distributed "seqkeras[distributed]" "ray[train]" torch==2.13.0

# Zig is a C++ compiler for all platforms. The others check what was built.
venv-release: venv-dev
	@$(PYTHON) .ci/venv.py --layer release "setuptools>=77" build ziglang==0.17.1 auditwheel abi3audit \
		lief "twine>=6" cffconvert

venv-notebooks: venv-dev
	@$(PYTHON) .ci/venv.py --layer notebooks nbclient ipykernel
