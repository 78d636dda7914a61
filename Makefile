# Every target makes .venv and installs what it needs by itself, once; `peers` also makes .venv-peers, with PyTorch.
#
#   make report    the course's questions: train, measure, draw, judge, set Report.pdf (results in runs/)
#   make papers    the papers' questions, likewise: runs/Supplement.pdf; make landscape, dynamics or paths
#                  do one part
#   make all       both
#   make replicate do the verdicts repeat with fresh seeds? (runs/replication)
#   make figures   redraw hw1/results/figures from the committed CSVs; trains nothing
#   make test      the tests (EVERY_CASE=1: with more nets and settings, hours)
#   make lint      ruff
#   make faults    kills, full disks, damaged and hostile files, wrong flags, in full (FAULTS_SEED=7: other ones)
#   make bench     timed comparisons      make smoke   everything at toy size, a few minutes
#   make peers     the Hessian by other libraries: do they agree, and how fast are they? (NET=mlp, NET=resnet: larger)
#   make clean     remove .venv, .venv-peers, runs/ and caches

PYTHON ?= python3
OUT ?= runs
NET ?= dense
BIN = .venv/bin

.PHONY: report papers landscape dynamics paths all replicate figures test lint faults bench peers smoke clean

report: .venv/users
	$(BIN)/hw1 reproduce --out=$(OUT)
	$(BIN)/hw1 claims --out=$(OUT)
	$(BIN)/hw1 report --results=$(OUT) --out=Report.pdf
	cp Report.pdf hw1/Report.pdf

papers landscape dynamics paths: .venv/users
	$(BIN)/hw1 reproduce --part=$@ --out=$(OUT)
	$(BIN)/hw1 claims --out=$(OUT)
	$(BIN)/hw1 report --part=$@ --results=$(OUT)

all: report papers

replicate: .venv/users
	$(BIN)/hw1 replicate --out=$(OUT)/replication

figures: .venv/users
	$(BIN)/hw1 plot --out=hw1/results

test: .venv/developers
	$(BIN)/python -m pytest

faults: .venv/developers
	FAULTS=full $(BIN)/python -m pytest tests/faults

lint: .venv/developers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: .venv/users
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.hessian

peers: .venv/users .venv-peers/users
	$(BIN)/python -m benchmarks.peers.export --net=$(NET) --nets=$(OUT)/peers_$(NET).npz
	.venv-peers/bin/python -m benchmarks.peers.agreement --nets=$(OUT)/peers_$(NET).npz
	$(BIN)/python -m benchmarks.peers.speed --nets=$(OUT)/peers_$(NET).npz

smoke: .venv/users
	$(BIN)/hw1 reproduce --size=smoke --part=all --out=$(OUT)/smoke
	$(BIN)/hw1 claims --out=$(OUT)/smoke
	$(BIN)/hw1 report --results=$(OUT)/smoke --out=$(OUT)/smoke/Report.pdf
	$(BIN)/hw1 report --part=papers --results=$(OUT)/smoke

clean:
	rm -rf .venv .venv-peers runs build hw1.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# For other versions TensorFlow has no wheels, and pip would say no more than that it found none.
define CHECK
import sys
have = sys.version_info[:2]
sys.exit(None if (3, 11) <= have <= (3, 13) else
    "This is Python %d.%d; needed is 3.11, 3.12 or 3.13, for which TensorFlow has wheels: name one of these, as in make PYTHON=python3.13" % have)
endef
export CHECK

# A stamp is written only after everything is installed, so an interrupted installation is taken up again.
.venv/users: requirements.txt pyproject.toml
	@$(PYTHON) -c "$$CHECK"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv-peers/users: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --requirement $<
	touch $@

.venv/developers: requirements-dev.txt .venv/users
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@
