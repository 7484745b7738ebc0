# Each command sets up what it needs the first time, and nothing twice. `make` alone lists them.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
UV := uv==0.13.8
# Programs among the site's packages start with this Node.
NODE := PATH="$(CURDIR)/$(BIN):$$PATH"
# For a course, a part of the book: make book CHAPTERS="6 7 8 10", into a folder of its own.
COURSE := $(if $(CHAPTERS),_build/course/)
BOOK := $(COURSE)_build
HTML := $(BOOK)/html/index.html

# One thread a notebook: results do not depend on the machine's cores, and notebooks run side by side.
export OMP_NUM_THREADS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1

BOOK_SOURCES := _config.yml _toc.yml $(shell find book vae_lab benchmarks -type f ! -path '*/.*' ! -name '*.pyc' ! -path 'book/_*')
SPHINX_SOURCES := $(shell find site/sphinx site/pictures -type f ! -path '*/.*' ! -name '*.pyc')
BROWSER_SOURCES := $(shell find site/browser -type f ! -path '*/.*')

ifdef CHAPTERS
CHOSEN := $(foreach n,$(CHAPTERS),$(or $(wildcard book/$(n)-*.ipynb book/0$(n)-*.ipynb),\
  $(error There is no chapter $(n): name numbers of chapters, as in make book CHAPTERS="6 7 8 10")))
# Read, and neither run nor written (site/sphinx/course.py): the other chapters, and what is not for students.
export LEFT_OUT := $(filter-out $(CHOSEN),$(wildcard book/[0-9]*.ipynb)) \
  book/sources.ipynb book/recorded.md book/speed.md book/teaching.md
endif

SETTINGS := $(strip $(CHAPTERS) $(sort $(shell env | grep '^VAE_LAB_' | grep -v '^VAE_LAB_DATA=')))

.PHONY: help book test access mnist alone lint notebooks assignments grade requirements gpu bench serve pdf screenshot clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

book: $(HTML)  ## build the book, or CHAPTERS="6 7 8 10" of it, and say where it is
	@echo "The book: file://$(CURDIR)/$(HTML)"

test: lint $(HTML) .venv/.chromium  ## check everything: package, notebooks, the built book in a browser
	@mkdir -p _build/tests && rm -f _build/tests/*.xml
	$(BIN)/pytest -q -n 2 -m package --junitxml=_build/tests/package.xml
	$(BIN)/pytest -q -n 2 --dist loadscope --nbval --nbval-current-env \
	  --nbval-cell-timeout=300 --nbval-sanitize-with tests/nbval.cfg --junitxml=_build/tests/notebooks.xml book
	$(BIN)/pytest -q -n 2 -m "site and not weight" --junitxml=_build/tests/site.xml
	$(BIN)/pytest -q -s -m weight --junitxml=_build/tests/weight.xml
	@$(BIN)/python tests/summary.py _build/tests/*.xml

access: $(HTML) .venv/.chromium  ## is every page there for every reader: axe, keyboard, small screens, valid HTML
	$(BIN)/pytest -q -n 2 --dist loadgroup -m access

mnist: .venv/.installed  ## run every chapter on MNIST: do its claims hold there too?
	$(BIN)/pytest -q -n 2 -m chapters

# Some of it: make alone ONLY="08 or derivations", ONLY=oldest, ONLY=jupyter
alone: .venv/.chromium  ## run every chapter outside the repository, with the oldest and the newest versions allowed
	$(BIN)/pytest -q -n 2 --dist loadgroup -m alone -k "$(ONLY)"

lint: .venv/.installed site/node_modules/.package-lock.json  ## format, lint, layers and types of Python, notebooks, JavaScript, CSS and workflows
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-logo --no-cache
	$(NODE) site/node_modules/.bin/biome check --error-on-warnings
	$(NODE) site/node_modules/.bin/tsc
	$(BIN)/zizmor --offline --quiet --min-severity medium .github

notebooks: .venv/.installed  ## execute the notebooks in place and strip what differs from run to run
	$(BIN)/python site/tools/execute.py in-place
	@echo "The notebooks in book/ are executed: look at them with git diff --stat"

# On other data: VAE_LAB_DATASET=mnist make assignments ONLY=4
assignments: .venv/.installed  ## make the assignments, or ONLY="1 4" of them: student versions, solutions, autograders
	@$(BIN)/python -m assignments.generate $(ONLY)

# It goes on where it stopped. Limits: make grade ... OPTIONS="--time 300 --memory 4000 --jobs 1"
grade: .venv/.installed  ## grade a folder: make grade ASSIGNMENT=1-bottleneck FOLDER=../handed-in
	@$(BIN)/python -m assignments.grade "$(ASSIGNMENT)" "$(FOLDER)" $(OPTIONS)

requirements: $(BIN)/uv  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate \
	  --upgrade --output-file requirements.txt pyproject.toml
	@echo "See git diff requirements.txt, then make test"

# With any Python that has torch: make gpu PYTHON=…; nothing is installed.
PYTHON := python3
gpu:  ## measure and check on a CUDA device what wants one, in eight minutes, for the page on speed
	@$(PYTHON) -c "import torch" 2> /dev/null || { echo "$(PYTHON) has no torch. Name one that has: make gpu PYTHON=..."; exit 1; }
	$(PYTHON) -m benchmarks.gpu --out book/results/speed

# All cores here, one thing at a time. To record: make bench OUT=book/results/speed
OUT := _build/benchmarks
bench: .venv/.chromium  ## measure how fast training is, against what one would otherwise write
	@unset OMP_NUM_THREADS; for each in time_to_elbo levers scaling in_page; do \
	  $(BIN)/python -m benchmarks.$$each --out $(OUT) || exit 1; done

serve: $(HTML)  ## build the book and serve it at http://localhost:8000
	$(BIN)/python -m http.server --directory $(BOOK)/html 8000

pdf: $(HTML) .venv/.chromium  ## print the book
	$(BIN)/python site/tools/pdf.py _build/book.pdf
	@echo "The PDF: file://$(CURDIR)/_build/book.pdf"

screenshot: $(HTML) .venv/.chromium  ## take the pictures of the book for the README and for links to it
	$(BIN)/python site/tools/screenshot.py site/pictures
	@echo "The pictures are in site/pictures"

clean:  ## remove everything that was built (.venv stays)
	rm -rf _build site/dist site/node_modules .pytest_cache .ruff_cache
	@echo "Clean. To set up from nothing, remove .venv as well."

# Made anew but for the executed notebooks: Sphinx keeps pages, outputs and static files that have gone or changed.
$(HTML): $(BOOK_SOURCES) $(SPHINX_SOURCES) site/dist/book.css $(BOOK)/.settings .venv/.installed
	$(BIN)/python site/tools/execute.py cache
	@rm -rf $(BOOK)/html $(BOOK)/.doctrees $(BOOK)/jupyter_execute
	@echo "Building the pages ..."
	TQDM_DISABLE=1 $(BIN)/jupyter-book build -q -W -n --keep-going --path-output $(CURDIR)/$(COURSE) . > /dev/null || \
	  { rm -rf $(BOOK)/html; exit 1; }

# Written anew only when a setting such as VAE_LAB_DATASET differs from the last build's.
$(BOOK)/.settings: FORCE
	@mkdir -p $(@D); echo '$(SETTINGS)' | cmp -s - $@ || echo '$(SETTINGS)' > $@
FORCE:

_build/palette.css: vae_lab/colors.py .venv/.installed
	@mkdir -p _build && $(BIN)/python -m vae_lab.colors > $@

site/dist/book.css: $(BROWSER_SOURCES) _build/palette.css site/node_modules/.package-lock.json
	@echo "Bundling styles, fonts and widgets ..."
	@cd site && $(NODE) node browser/build.js

site/node_modules/.package-lock.json: site/package-lock.json .venv/.installed
	@echo "Installing the site's packages ..."
	@cd site && $(NODE) npm ci --loglevel=error
	@touch $@

.venv/.installed: requirements.txt pyproject.toml $(BIN)/uv
	$(BIN)/uv pip sync --python $(BIN)/python requirements.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --editable .
	@touch $@

# The first Python of these that is new enough.
$(BIN)/uv:
	@for python in python3 python3.13 python3.12 python3.11; do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; done; \
	[ "$$python" ] || { echo "This book needs Python 3.11 or newer, and found none. Install one, then run make again."; exit 1; }; \
	echo "Making .venv with $$($$python --version) ..."; \
	[ -x $(BIN)/pip ] || $$python -m venv .venv || { rm -rf .venv; \
	  echo "Python cannot make virtual environments here. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)

.venv/.chromium: .venv/.installed
	@$(BIN)/python site/tools/chromium.py
	@touch $@
