# The two commands of a fresh machine: `make demo` and `make test`. Both make .venv first if it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-min lint audit install clean

demo: install
	$(BIN)/medsaliency demo

test: install lint
	$(BIN)/pytest --cov --cov-report=term

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r src benchmarks .ci

# Fails (3) as well where the service of known vulnerabilities cannot be reached: what was not audited has not passed.
audit: lint
	$(BIN)/python .ci/audit.py

install: .venv/installed

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[test]"
	touch $@

# Without peers, browsers and archives. Each test that is left out compares with what only a newer library has: the
# same name of a clip path when a figure is drawn again (matplotlib), a temperature (scikit-learn).
MINIMUM := -m "not slow" tests/data tests/model tests/attribution tests/evaluation tests/statistics tests/report \
  tests/study/test_config.py tests/study/test_files.py tests/study/test_cases.py tests/study/test_store.py \
  tests/study/test_compare.py tests/study/test_explanations.py tests/study/test_pipeline.py \
  --ignore=tests/report/test_browser.py --ignore=tests/report/test_pdf.py \
  --deselect=tests/report/figures/test_canvas.py::test_a_figure_can_be_drawn_twice_and_is_the_same \
  --deselect=tests/statistics/test_calibration.py::test_the_temperature_is_that_of_scikit_learn

# Everything a user installs in the lowest version that pyproject.toml allows.
test-min: .venv-min/installed
	.venv-min/bin/pytest $(MINIMUM)

.venv-min/installed: pyproject.toml .ci/minimum_versions.py .venv/installed
	test -x .venv-min/bin/python || $(PYTHON) -m venv .venv-min
	$(BIN)/python .ci/minimum_versions.py > .venv-min/constraints.txt
	.venv-min/bin/python -m pip install --disable-pip-version-check -q -e ".[test]" -c .venv-min/constraints.txt
	touch $@

clean:
	rm -rf .venv .venv-min
