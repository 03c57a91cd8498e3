# make demo · make test · make bench · make lint        Each installs what it needs.
# make wheel · make clean · make test-packages · make test-documents DOCUMENTS=FOLDER
#
# Debian packages are installed only when something is missing, and only then is root needed.
# Everything else goes into .venv/ and target/.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PACKAGES := harness-python/tests/builds/packages
RT     := harness-python/python/hitmap/_rt
RUST   := Cargo.toml Cargo.lock $(shell find runtime observers fuzzer harness-python/src harness-python/Cargo.toml \
            -name '*.rs' -o -name '*.toml' -o -name '*.h' -o -name '*.c' -o -name '*.ld' -o -name '*.cmake')
FACE   := harness-python/pyproject.toml $(shell find harness-python/python harness-python/data -type f \( -name "*.py" -o -name "*.pyi" -o -name hitmap-clang \))

DEMO_SECONDS ?= 60
CORES        := $(shell nproc)

.PHONY: help demo test test-rust test-python test-packages test-documents bench lint wheel clean
help:
	@sed -n '1,2s/^# //p' Makefile

# ---- what everything needs -------------------------------------------------------------------

# A compiler with SanitizerCoverage, its linker for ThinLTO and its sanitizers' libraries, Python's
# headers, and Python's venv module.
.PHONY: system
system:
	@need=""; \
	command -v clang-19 >/dev/null || need="$$need clang-19"; \
	command -v ld.lld-19 >/dev/null || need="$$need lld-19"; \
	test -e "$$(clang-19 -print-file-name=libclang_rt.asan-$$(uname -m).so 2>/dev/null)" \
	  || need="$$need libclang-rt-19-dev"; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || need="$$need python3-venv"; \
	$(PYTHON) -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null \
	  || need="$$need python3-dev"; \
	if [ -n "$$need" ]; then \
	  echo "installing$$need"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$need >/dev/null; \
	fi

$(VENV)/ready: requirements.txt | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# The wheel: runtime and witness beside the Python package, built once for both.
$(VENV)/hitmap: $(VENV)/ready $(RUST) $(FACE)
	@touch $@.begun
	cargo build --release --locked -p hitmap-runtime -p hitmap-witness
	cp target/release/libhitmap_rt.so target/release/libhitmap_witness.so runtime/include/hitmap.h $(RT)/
	rm -rf target/wheels
	$(BIN)/maturin build --quiet --release --locked -m harness-python/Cargo.toml -i $(BIN)/python -o target/wheels
	$(BIN)/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/wheels/*.whl
	@mv $@.begun $@

wheel: $(VENV)/hitmap

# ---- make demo ---------------------------------------------------------------------------------

# pytomlpp 1.1.0 is pybind11 over toml++; it has assertions that real inputs fail.
$(VENV)/pytomlpp: $(VENV)/hitmap
	$(BIN)/hitmap build pytomlpp==1.1.0
	@touch $@

# Findings are the demo's success, so exit code 1 is one.
demo: $(VENV)/pytomlpp
	@$(BIN)/hitmap fuzz examples/demo/toml_harness.py -i corpora/toml -x corpora/toml.dict -o out/demo \
	  -j $(CORES) --max-time $(DEMO_SECONDS); code=$$?; [ $$code -le 1 ] || exit $$code

# ---- make test ---------------------------------------------------------------------------------

test: lint test-rust test-python

test-rust: system
	cargo test --workspace --locked --quiet

# AFL++'s own fuzzer, for the example that it drives.
.PHONY: afl
afl:
	@command -v afl-fuzz >/dev/null || { echo "installing afl++"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends afl++ >/dev/null; }

# Boost.Python of Debian, for Debian's Python. Under another the tests that want it say so and are skipped.
.PHONY: boost
boost:
	@test -e /usr/include/boost/python.hpp || { echo "installing libboost-python-dev"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libboost-python-dev >/dev/null; }

test-python: $(VENV)/hitmap afl boost
	$(BIN)/python -m pytest -q harness-python/tests tests benches --ignore $(PACKAGES)

# Real packages from the index: minutes of compilation, and so no part of `make test`.
test-packages: $(VENV)/hitmap
	$(BIN)/python -m pytest -q $(PACKAGES)

# memcov's documents, of which the project has no copy, run from copies of yours.
test-documents: $(VENV)/hitmap
	@test -n "$(DOCUMENTS)" || { echo "name a folder with memcov's documents as text: DOCUMENTS=FOLDER"; exit 2; }
	DOCUMENTS="$(abspath $(DOCUMENTS))" $(BIN)/python -m pytest -q harness-python/tests/compat/documents.py

# ---- make bench, make lint ---------------------------------------------------------------------

bench: $(VENV)/hitmap
	$(BIN)/python benches/run.py

lint: system
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

clean:
	rm -rf $(VENV) target out
