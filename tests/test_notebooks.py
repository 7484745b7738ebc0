"""The committed chapters: executed, light, clean, listed."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from vae_lab import data
from vae_lab.claims import written

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "book").glob("[!.]*.ipynb"))
PAGES = [p for p in sorted((ROOT / "book").glob("[!.]*.md")) if "```{code-cell}" in p.read_text("utf8")]
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|work|tmp|Users|private|usr|opt)/\w")

CHOICE = re.compile(
    r'^<details name="([\w-]+)" class="choice( right)?"><summary>[^$\n]+</summary>\n\n(.+)\n\n</details>$',
    re.M,
)

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]


@each_notebook
def test_is_a_valid_notebook(path):
    nbformat.validate(nbformat.read(path, as_version=4))


@each_notebook
def test_is_executed_from_top_to_bottom(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/svg+xml" in out.get("data", {}) for cell in cells for out in cell.outputs)


@each_notebook
def test_holds_no_error_and_no_warning(path):
    outputs = [out for cell in code_cells(path) for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]


@each_notebook
def test_shows_every_claim_as_kept(path):
    """A cell that claims shows as many ticks as it makes claims, or more where it claims in a loop."""
    for cell in code_cells(path):
        ticks = sum("✓" in out.get("data", {}).get("text/plain", "") for out in cell.outputs)
        assert ticks >= len(re.findall(r"^\s*claim\(", cell.source, re.M))


@pytest.mark.parametrize("path", NOTEBOOKS + PAGES, ids=lambda path: path.stem)
def test_every_claim_has_a_rival_or_a_reason_for_none(path):
    assert [claim.sentence for claim in written(path) if not (claim.rivals or claim.no_rival)] == []


@each_notebook
def test_is_light_and_carries_no_widget_state(path):
    assert path.stat().st_size < 1_000_000
    assert "widgets" not in nbformat.read(path, as_version=4).metadata


@each_notebook
def test_names_no_path_of_a_machine(path):
    assert not MACHINE_PATH.findall(path.read_text("utf8"))


@each_notebook
def test_cells_are_short(path):
    assert max(len(cell.source.splitlines()) for cell in code_cells(path)) <= 25


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem[:2].isdigit()], ids=lambda path: path.stem)
def test_asks_questions_that_answer(path):
    """Two to four questions, one a prediction, each with one right choice and an answer to every choice."""
    text = "\n\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    questions = {}
    for name, right, answer in CHOICE.findall(text):
        assert answer.startswith("Right." if right else "No."), name
        questions.setdefault(name, []).append(bool(right))
    assert len(CHOICE.findall(text)) == text.count("<details"), "a choice is not written as the others are"
    assert 2 <= len(questions) <= 4 and all(name.startswith(f"q{path.stem[:2]}-") for name in questions)
    assert all(sum(rights) == 1 and 2 <= len(rights) <= 4 for rights in questions.values())
    asked = len(re.findall(r"^\*\*(?:Predict|Check yourself)\.\*\* ", text, re.M))
    assert asked == len(questions) and "**Predict.**" in text


def test_every_notebook_begins_with_the_same_cell():
    """It installs the package in Colab, and offers to keep what is loaded on the reader's drive."""
    first = [code_cells(path)[0] for path in NOTEBOOKS]
    assert len({cell.source for cell in first}) == 1
    assert all(cell.metadata.tags == ["remove-cell"] for cell in first)


@each_notebook
def test_needs_no_file_beside_it(path):
    """In Colab a chapter lies alone. What it reads comes with the package; `make alone` tries that."""
    for cell in code_cells(path):
        assert not re.search(r"""results/|["']\.\.?/|\burl(open|retrieve)\b""", cell.source), cell.source


@each_notebook
def test_offers_data_sets_that_there_are(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    offered = re.findall(r'^DATASET = "(.+)"  # @param (.+)$', source, re.M)
    assert len(offered) == ("DATASET" in source)
    for default, choices in offered:
        assert default in json.loads(choices) and set(json.loads(choices)) <= set(data.NAMES)


def test_every_notebook_is_in_the_table_of_contents():
    listed = re.findall(r"file: (book/\S+)", (ROOT / "_toc.yml").read_text("utf8"))
    assert {path.relative_to(ROOT).with_suffix("").as_posix() for path in NOTEBOOKS} <= set(listed)


def test_the_repository_has_one_address():
    """Chapters, package and citation name the repository that the book's buttons open."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    address = config["repository"]["url"]
    naming = [*NOTEBOOKS, *ROOT.glob("assignments/*/*.ipynb"), ROOT / "assignments/otter.yml"]
    for path in [*naming, ROOT / "book/running.md", ROOT / "pyproject.toml", ROOT / "CITATION.cff"]:
        found = set(re.findall(r"https://github\.com/[\w-]+/vae-lab", path.read_text("utf8")))
        assert found == {address}, path.name
    for path in NOTEBOOKS:
        assert f"[published book]({config['html']['baseurl']})" in path.read_text("utf8"), path.name
