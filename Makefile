# Everything a fresh machine needs: python3.11+, make, and the ordinary package registries.
#
#   make demo     set up and run the main job on a synthetic patient: pictures and RTSTRUCTs land in demo-out/
#   make test     set up and run every check, and the tests
#   make test-slow         the tests that take minutes each: trials with kills, fuzzing, networks that nnU-Net trains, the package
#   make coverage          the tests of core, domain and application, and which branches of these they take
#   make test-fresh        the demo on a bare Debian 12 and 13, by root and by a user; needs root
#   make nnunet-peers      nnU-Net 1 and 2 in .venv-nnunet, for comparisons
#   make test-lowest       a short part of the tests with the lowest versions that are declared, in .venv-lowest
#   make third-party       the table of THIRD_PARTY.md that says what the installed wheels carry of others
#   make sbom              what is installed, as a CycloneDX SBOM: sbom.cdx.json
#   make foreign-readers   an RTSTRUCT reader in an environment of its own, for tests and a benchmark
#   make fuzz SECONDS=300  fuzz the reader and the receiver, that long each
#   make fuzz-rest SECONDS=300  fuzz REST, that long
#   make screenshots       run the service on synthetic patients and take the pictures of the page in docs/images
#   make conformance-pdf   the DICOM Conformance Statement as PDF
#   make system-packages   Debian packages that only tests need (peers nobody here wrote); needs root
#
PYTHON ?= python3
VENV   ?= .venv
PEERS  ?= .venv-nnunet
# Files of tests are dealt out to so many processes; PARALLEL= runs all in one.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
APT    := debootstrap qemu-user openssl dcmtk dicom3tools plastimatch orthanc orthanc-dicomweb chromium postgresql docker-compose prometheus systemd
export PIP_ROOT_USER_ACTION := ignore

.PHONY: coverage sbom third-party test-slow test-lowest conformance-pdf screenshots fuzz fuzz-rest demo test test-fresh check lint format setup setup-dev system-packages foreign-readers nnunet-peers clean

demo: setup
	$(BIN)/npc-contour demo --out demo-out

setup: $(VENV)/.service
setup-dev: $(VENV)/.dev

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing. As root: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) deploy/prepare.py $(VENV)

# nvidia-pytriton declares numpy<2, which its files do not need: the service uses its tritonserver only.
$(VENV)/.service: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the service into $(VENV) (some minutes the first time)"
	$(PIP) --editable .
	$(PIP) --no-deps nvidia-pytriton
	@touch $@

# torch first: whatever depends on it must find this build. rt-utils asks for opencv with a display; the headless one serves.
$(VENV)/.dev: $(VENV)/.service
	@echo "installing the tools for tests into $(VENV)"
	$(PIP) torch
	$(PIP) --editable '.[dev,networks,tools,tracing,rtx]'
	$(PIP) opencv-python-headless
	$(PIP) --no-deps rt-utils
	@touch $@

test: setup-dev lint
	$(BIN)/python -m pytest -q -m "not slow" --durations=25 $(PARALLEL)

# Trials that kill and freeze, fuzzing, networks that nnU-Net trains: one after another, for they need the machine.
test-slow: setup-dev
	$(BIN)/python -m pytest -q -m slow --durations=15

coverage: setup-dev
	$(BIN)/python -m pytest -q -m "not slow" tests/core tests/application --cov --cov-report=term:skip-covered

# A bare Debian 12 and 13, a clean clone, `make demo` by root and by a user. Needs root, else it says so and is content.
# TREES=FOLDER keeps what is fetched; what does not end within WITHIN seconds, or cannot be fetched, is left out, and said.
WITHIN ?= 1800
test-fresh:
	timeout --foreground --kill-after=60 $$(($(WITHIN) + 120)) \
	  $(PYTHON) benchmarks/start.py --part debian --within $(WITHIN) $(if $(TREES),--trees $(TREES))

# CI runs it once: a declared range must begin where the code works.
test-lowest:
	PYTHON=$(PYTHON) tests/lowest.sh

third-party: setup-dev
	$(BIN)/python benchmarks/third_party.py

# The tool lives in an environment of its own, so that it is not in the list.
sbom: setup
	@[ -x .venv-sbom/bin/cyclonedx-py ] || { $(PYTHON) -m venv .venv-sbom && .venv-sbom/bin/python -m pip install --quiet cyclonedx-bom; }
	.venv-sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.cdx.json $(BIN)/python

lint: setup-dev
	$(BIN)/ruff format --check service models tools tests benchmarks deploy
	$(BIN)/ruff check service models tools tests benchmarks deploy
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint

format: setup-dev
	$(BIN)/ruff format service models tools tests benchmarks deploy
	$(BIN)/ruff check --fix service models tools tests benchmarks deploy

# A reader that needs an older pydicom, in an environment of its own: for tests and the RTSTRUCT benchmark.
foreign-readers: .venv-readers/.ready

.venv-readers/.ready:
	$(PYTHON) -m venv .venv-readers
	.venv-readers/bin/python -m pip install --disable-pip-version-check --quiet dcmrtstruct2nii==5 'pydicom<3'
	@touch $@

system-packages:
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(APT)

# nnU-Net in an environment of its own: `npc-networks parity` and benchmarks/networks.py compare with it. Version 1 asks for
# packages that it does not need to predict, hence --no-deps.
nnunet-peers: $(PEERS)/.ready

$(PEERS)/.ready: benchmarks/nnunet-peers.txt constraints.txt
	$(PYTHON) -m venv $(PEERS) || $(PYTHON) -m virtualenv -q $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt torch
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --quiet --requirement benchmarks/nnunet-peers.txt
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps nnunet==1.7.1
	@touch $@

# Minutes of fuzzing; what reaches new code is kept, a fault leaves its input as crash-*.
SECONDS ?= 300
fuzz: setup-dev
	for target in reader door; do \
	  $(BIN)/python tests/npc_testkit/fuzz.py $$target -max_total_time=$(SECONDS) tests/corpus/$$target || exit 1; done

fuzz-rest: setup-dev
	REST_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest -q -o timeout=0 tests/app/test_rest.py -k answered_with_a_fault

screenshots: setup-dev
	$(BIN)/python benchmarks/screenshots.py docs/images

# A hospital signs paper: needs weasyprint (apt-get install weasyprint).
conformance-pdf: setup
	@command -v weasyprint >/dev/null || { echo "weasyprint is missing. As root: apt-get install weasyprint"; exit 1; }
	$(BIN)/npc-tools conformance --html --out conformance-statement.html
	weasyprint -q conformance-statement.html conformance-statement.pdf

# All that make made; what fuzzing found (crash-*) and engines that were exported stay.
clean:
	rm -rf $(VENV) $(PEERS) .venv-readers .nnunet-phantoms demo-out dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	rm -rf .venv-lowest .venv-sbom sbom.cdx.json *.egg-info triton_repo/*/1/model_cache conformance-statement.html conformance-statement.pdf
	find service models tools tests benchmarks triton_repo deploy -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
