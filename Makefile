# make demo      Alice and Bob on an embedded server: no account, no root, nothing installed outside .venv
# make quick     style, types, layers, and the tests of the core and the plugin but for the slow ones: a minute or so
# make test      everything: installs Prosody and ejabberd if they are absent (root, Debian), looks at the style, runs the tests
# make stock     the demo, and the tests of core and plugin, on Debian's own Python, in .venv-debian
# make check     what can be told without running it: style, types, layers, packages
# make flood     a thousand hostile offers a second for a minute, at a client that goes on talking; says what it held
# make pauses    how long the event loop stands still while twenty proofs by password go on
# make memory    measures what peers can make us keep, and writes the table of docs/bounds.md
# make hostile   looks long for an order of events in which two sessions break a promise; `test` looks for seconds
# make soak      SEEDS=… of faults, while two programs talk on real servers (hours); `test` plays two short ones
# make fuzz      looks for input that breaks a parser, SECONDS=… in all; `test` looks for seconds
# make models    runs the models of docs/models by PROVERIF=… and writes what it says into docs/models/VERDICTS.md
# make deletions leaves out the checks of changed functions, one at a time, and finds the test that fails: docs/evidence.md
# make mutants   lets mutmut change the guarding modules, and finds what no test notices (takes hours): docs/evidence.md
# make interop   plays every scene on real servers and writes interop/RESULTS.md
# make bench     measures what encryption costs, beside plaintext and OMEMO, and writes interop/bench/RESULTS.md (half an hour)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
demo_ready := $(VENV)/demo.stamp
test_ready := $(VENV)/test.stamp
fuzz_ready := $(VENV)/fuzz.stamp
mutants_ready := $(VENV)/mutants.stamp
bench_ready := $(VENV)/bench.stamp

# An interpreter that has gone, or a half-made environment: begin again.
ifneq ($(wildcard $(VENV)),)
ifneq ($(shell $(BIN)/python -m pip --version >/dev/null 2>&1 && echo good),good)
$(shell rm -rf $(VENV))
endif
endif

.DELETE_ON_ERROR:
.PHONY: demo quick test units stock style check flood pauses memory hostile soak deletions mutants fuzz interop bench models servers

demo: $(demo_ready)
	@$(BIN)/xmpp-e2e demo

# These tests take every branch of the core. Only they are measured: measuring makes them take half as long again.
CORE := tests/xmpp_e2e tests/docs tests/attacks/test_25_ground_strings.py tests/attacks/test_49_refused_rotations.py tests/attacks/test_38_steps.py tests/attacks/test_38_out_of_turn.py tests/attacks/test_55_resumed.py tests/attacks/test_memory.py

# The rest is done by three on two cores: much of it waits for servers.
test: servers style
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --cov --cov-report=term $(CORE)
	$(BIN)/python -m pytest --numprocesses=3 --dist=loadfile $(CORE:%=--ignore=%)

# Without what takes long and rarely fails alone, which is marked as slow.
quick: style
	$(BIN)/python -m pytest --numprocesses=3 --dist=worksteal -m "not slow" --hypothesis-profile=quick \
		tests/xmpp_e2e tests/slixmpp_e2e

units: $(test_ready)
	$(BIN)/python -m pytest --numprocesses=3 --dist=loadfile tests/xmpp_e2e tests/slixmpp_e2e

# Its expat is the system's, with the system's security updates; other Pythons bring one along.
stock:
	@$(MAKE) --no-print-directory PYTHON=/usr/bin/python3 VENV=.venv-debian demo units

style: $(test_ready)
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# tests/packaging plants violations that the contracts of import-linter must find, looks into the wheel, and runs
# tests/installed in a fresh environment, outside the repository.
check: style
	$(BIN)/python -m pytest tests/packaging

flood: $(test_ready)
	$(BIN)/python -m tests.attacks.flood 60

pauses: $(test_ready)
	$(BIN)/python -m tests.attacks.pauses

memory: $(test_ready)
	$(BIN)/python -m tests.evidence.memory

hostile: $(test_ready)
	$(BIN)/python -m pytest tests/attacks/test_hostile_wire.py tests/attacks/test_hostile_peer.py \
		tests/xmpp_e2e/inner/test_resumption_machine.py --hypothesis-profile=hostile

# Ten thousand stanzas each way for each seed, on each server and across both: eight minutes each, four at once.
SEEDS ?= 1-20
soak: servers $(test_ready)
	$(BIN)/python -m interop.chaos.run --profile=full --seeds=$(SEEDS) --jobs=4 --into=interop/chaos/RESULTS.md \
		--server=prosody --server=ejabberd --server=federation

# A minute for each parser.
SECONDS ?= 480
fuzz: $(fuzz_ready)
	$(BIN)/python -m tests.fuzz.run $(SECONDS)

PROVERIF ?= proverif
models: $(test_ready)
	$(BIN)/python -m tests.docs.models $(PROVERIF)

# Of the functions that have changed since BASE; with ALL=1 of all, with NEW=1 what was not tried yet.
BASE ?= HEAD
deletions: $(test_ready)
	$(BIN)/python -m tests.evidence.deletions.run --workers=2 --base=$(BASE) $(if $(ALL),--all) $(if $(NEW),--new)

mutants: $(mutants_ready)
	$(BIN)/python -m tests.evidence.mutants.run

interop: servers $(test_ready)
	$(BIN)/python -m interop.run

bench: $(bench_ready)
	@interop/servers/install.sh prosody ejabberd
	$(BIN)/python -m interop.bench

servers:
	@interop/servers/install.sh prosody ejabberd lua-unbound prosody-modules

$(demo_ready): pyproject.toml
	@echo "preparing $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --editable '.[cli]'
	@touch $@

$(test_ready): pyproject.toml
	@echo "preparing $(VENV) for tests ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --editable '.[cli,keyring,test]'
	@touch $(demo_ready) $@

# Apart from the rest: there are no wheels for every Python and every machine.
$(fuzz_ready): $(test_ready)
	@$(PIP) install --editable '.[fuzz]'
	@touch $@

$(mutants_ready): $(test_ready)
	@$(PIP) install --editable '.[mutants]'
	@touch $@

$(bench_ready): $(test_ready)
	@$(PIP) install --editable '.[bench]'
	@touch $@
