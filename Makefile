# Every task sets up what it needs in .venv; `make` alone lists the tasks.
PYTHON ?= python3
ARCH ?= amd64
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PICTURE := tests/grafana/picture
# What the virtual machine needs; `make test` leaves it out where one of these is missing.
VM_PROGRAMS := qemu-system-x86_64 qemu-img mmdebstrap mke2fs ssh ssh-keygen
VM_PACKAGES := qemu-system-x86 qemu-utils mmdebstrap e2fsprogs openssh-client
MISSING_FOR_VM = $(strip $(foreach program,$(VM_PROGRAMS),$(if $(shell PATH="$$PATH:/usr/sbin:/sbin" command -v $(program)),,$(program))))

.DEFAULT_GOAL := help
.PHONY: help run demo test test-beside lint types linters unit rules month end-to-end prometheus-next test-vm test-vm-share test-vm-newest test-vm-whole test-matrix test-lvm vm-image crash chaos oracle odd faults runbooks pressure vm-shell fuzz record dashboards picture bench dist clean

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml exporter/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed; name one with make PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Without the host's own configuration, which may let the guard extend single pools.
run: $(READY) ## watch this host's pools without extending any, or a simulated host where there is none
	@if $(BIN)/thinpool-exporter collect --log.level=error 2>/dev/null | grep -q '^thinpool_info'; then \
	  echo "This observes the thin pools of this host, and extends none: http://localhost:10128/"; \
	  echo "To have them extended, install the package (README.md)."; \
	  exec $(BIN)/thinpool-exporter run --guard.mode=observe --config.file=/dev/null; \
	else \
	  echo "No thin pool to watch here (or not root): this is a SIMULATED host."; \
	  echo "Its pools fill within a minute: http://localhost:10128/  (Ctrl-C ends it)"; \
	  exec $(BIN)/thinpool-exporter demo; \
	fi

demo: $(READY) ## the simulated host, whatever is here
	@exec $(BIN)/thinpool-exporter demo

test: lint types linters ## everything that can run here; says what it leaves out
	@if [ -z "$(MISSING_FOR_VM)" ] || [ -n "$$THINPOOL_REQUIRE_ALL" ]; then \
	  $(MAKE) --no-print-directory --jobs=2 test-vm-share test-beside; \
	else \
	  $(MAKE) --no-print-directory unit rules end-to-end; \
	  echo "LEFT OUT: the tests in the virtual machine, for want of: $(MISSING_FOR_VM)"; \
	  echo "  apt-get install $(VM_PACKAGES), then make test"; \
	fi

# The machine, which is emulated, needs one core most of the time; what else there is to test
# takes what it leaves, then the newest release's machine, and says at the end what came of it.
test-beside: $(READY)
	@$(MAKE) --no-print-directory prometheus-next || [ -z "$$THINPOOL_REQUIRE_ALL" ]
	@log=$$(mktemp); status=0; \
	nice -n 10 $(MAKE) --no-print-directory --jobs=1 unit rules end-to-end >$$log 2>&1 || status=$$?; \
	$(MAKE) --no-print-directory --jobs=1 test-vm-newest >>$$log 2>&1 || status=$$?; \
	cat $$log; rm -f $$log; exit $$status

lint: $(READY) ## style of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## types of the code
	$(BIN)/mypy
	@# Grafana's SDK is written for 3.11.
	$(BIN)/mypy --python-version=3.11 grafana

unit: $(READY) ## unit, golden and property tests
	$(BIN)/pytest -q tests/test_architecture.py tests/unit tests/golden tests/properties tests/chaos \
	  tests/grafana/test_dashboards.py \
	  --cov --cov-report=term:skip-covered

# Neither has a package; what of them matters most, tests/rules and tests/grafana hold as well.
linters: ## pint on the rules and dashboard-linter on the dashboards, where they are installed
	@if command -v pint >/dev/null; then \
	  pint --no-color --offline lint --min-severity=info --fail-on=info $(wildcard rules/*.yaml); \
	else echo "LEFT OUT: pint; go build ./cmd/pint of https://github.com/cloudflare/pint"; fi
	@if command -v dashboard-linter >/dev/null; then \
	  set -e; for board in grafana/*.json; do dashboard-linter lint --strict $$board; done; \
	else echo "LEFT OUT: dashboard-linter; go build of https://github.com/grafana/dashboard-linter"; fi

prometheus-next: $(READY) ## fetch Prometheus 3 and its Alertmanager for the tests; installs nothing
	$(BIN)/python -m tests.next_prometheus

rules: $(READY) ## the alerts and what they are made of, by promtool
	$(BIN)/pytest -q tests/rules

# THINPOOL_MONTH_DAYS is how long it is.
month: $(READY) ## thirty days of ordinary hosts: what fires, and whether it pages anybody (an hour)
	THINPOOL_MONTH_DAYS=$${THINPOOL_MONTH_DAYS:-30} $(BIN)/pytest -q -s tests/rules/test_month.py

end-to-end: $(READY) ## the real program on the simulated host, with a real Prometheus
	$(BIN)/pytest -q tests/end_to_end tests/grafana/test_day.py

test-vm: $(READY) ## real LVM, device-mapper and Docker, in a virtual machine
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/pytest -q --durations=10 --vm -m 'not campaign' tests/vm

# `make test` shares these out between two releases: each test runs on one at least.
test-vm-share: $(READY)
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/pytest -q --durations=10 --vm -m 'not campaign and not any_release' tests/vm

test-vm-newest: $(READY) ## on the newest release what differs by LVM, kernel and systemd, and what one release is enough for
	PATH="$$PATH:/usr/sbin:/sbin" THINPOOL_VM_RELEASE=trixie $(BIN)/pytest -q --durations=10 --vm \
	  -m 'not campaign and (every_release or any_release)' tests/vm

test-matrix: $(READY) ## the same on every release: bookworm, trixie, bullseye and forky (three hours)
	@failed=; for release in bookworm trixie bullseye forky; do \
	  echo "== $$release"; \
	  THINPOOL_VM_RELEASE=$$release $(MAKE) --no-print-directory test-vm || failed="$$failed $$release"; \
	done; \
	[ -z "$$failed" ] || { echo "FAILED ON:$$failed"; exit 1; }

test-vm-whole: $(READY) ## the same and every campaign but those that have a size of their own (two hours)
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/pytest -q --durations=10 --vm --ignore=tests/vm/test_old_lvm.py tests/vm

crash: $(READY) ## kill the guard 200 times under load, in the virtual machine (half an hour)
	PATH="$$PATH:/usr/sbin:/sbin" THINPOOL_KILLS=200 $(BIN)/pytest -q -s --vm tests/vm/test_crash.py

oracle: $(READY) ## LVM's arithmetic beside ours in some 500 combinations, in the virtual machine
	PATH="$$PATH:/usr/sbin:/sbin" THINPOOL_ORACLE=full $(BIN)/pytest -q -s --vm tests/vm/test_oracle.py

odd: $(READY) ## odd hosts, and a hundred pools that all fill at once, in the virtual machine (fifteen minutes)
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/pytest -q -s --vm tests/vm/test_odd_hosts.py tests/vm/test_hundred_pools.py

faults: $(READY) ## the fault catalogue (tests/README.md), in the virtual machine
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/pytest -q --durations=10 --vm tests/vm/test_faults_states.py \
	  tests/vm/test_faults_lvm.py tests/vm/test_faults_host.py

runbooks: $(READY) ## every command of every runbook, in the virtual machine (half an hour)
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/pytest -q --durations=10 --vm tests/vm/test_odd_hosts.py tests/vm/test_paging.py tests/vm/test_runbooks*.py

pressure: $(READY) ## a host without memory, with slow disks, and what locking is good for (ten minutes)
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/pytest -q -s --vm tests/vm/test_pressure.py

test-lvm: $(READY) ## build LVMs from 2.02.98 on, and read and extend with each in the virtual machine (two hours)
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/pytest -v --vm tests/vm/test_old_lvm.py

vm-image: $(READY) ## build the virtual machine's file system, if it is not in the cache
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m tests.vm.image

vm-shell: $(READY) ## a shell in a virtual machine with this version installed
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m tests.vm.shell

# THINPOOL_CHAOS_SECONDS is for how long; `python -m tests.chaos SEED` tries one seed again.
chaos: $(READY) ## a guard to whom everything happens, on the simulated host (an hour)
	nice $(BIN)/python -m tests.chaos

# With what was found already as a start; THINPOOL_FUZZ_SECONDS for each parser (60).
fuzz: $(READY) ## any bytes into every parser, led by what they run through (an hour)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,fuzz]'
	nice $(BIN)/python -m tests.fuzz $(TARGETS)

record: $(READY) ## record what the real programs print, into tests/recordings
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m tests.vm.record --release "$${THINPOOL_VM_RELEASE:-bookworm}"

dashboards: $(READY) ## write Grafana's dashboards anew, from grafana/builder
	$(BIN)/python -m grafana.builder

$(PICTURE)/node_modules: $(PICTURE)/package-lock.json
	@command -v npm > /dev/null || { echo "On Debian: apt-get install npm"; exit 1; }
	cd $(PICTURE) && npm ci --loglevel=error
	@touch $@

picture: $(READY) $(PICTURE)/node_modules ## the README's pictures: the status page and the dashboards (needs npm)
	$(BIN)/python -m tests.end_to_end.picture
	$(BIN)/python -m tests.grafana.picture

bench: $(READY) ## speed and size, beside the commands that the program runs
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m tests.bench

dist: $(READY) ## wheel, sdist, deb and rpm (ARCH=arm64 for another machine)
	$(BIN)/python -m systemd.package.build --out dist --arch $(ARCH)

clean: ## remove what make has built here
	rm -rf $(VENV) build dist $(PICTURE)/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
