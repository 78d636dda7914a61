# Every target makes .venv and installs what it needs by itself, once.
#
#   make report    the course's questions: train, measure, draw, judge, set Report.pdf (results in runs/)
#   make landscape the papers' questions, likewise: runs/Supplement.pdf
#   make figures   redraw hw1/results/figures from the committed CSVs; trains nothing
#   make test      the tests          make lint    ruff
#   make bench     timed comparisons  make smoke   everything at toy size, about a minute
#   make clean     remove .venv, runs/ and caches

PYTHON ?= python3
OUT ?= runs
BIN = .venv/bin

.PHONY: report landscape figures test lint bench smoke clean

report: .venv/users
	$(BIN)/python -m hw1.reproduce --out=$(OUT)
	$(BIN)/python -m hw1.claims --out=$(OUT)
	$(BIN)/python -m hw1.report --results=$(OUT) --out=Report.pdf
	cp Report.pdf hw1/Report.pdf

landscape: .venv/users
	$(BIN)/python -m hw1.reproduce --part=landscape --out=$(OUT)
	$(BIN)/python -m hw1.claims --out=$(OUT)
	$(BIN)/python -m hw1.report --part=landscape --results=$(OUT)

figures: .venv/users
	$(BIN)/python -m hw1.plot --out=hw1/results

test: .venv/developers
	$(BIN)/python -m pytest

lint: .venv/developers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: .venv/users
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.hessian

smoke: .venv/users
	$(BIN)/python -m hw1.reproduce --size=smoke --part=all --out=$(OUT)/smoke
	$(BIN)/python -m hw1.claims --out=$(OUT)/smoke
	$(BIN)/python -m hw1.report --results=$(OUT)/smoke --out=$(OUT)/smoke/Report.pdf
	$(BIN)/python -m hw1.report --part=landscape --results=$(OUT)/smoke

clean:
	rm -rf .venv runs .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# A stamp is written only after everything is installed, so an interrupted installation is taken up again.
.venv/users: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

.venv/developers: requirements-dev.txt .venv/users
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@
