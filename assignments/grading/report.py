"""What becomes of a run: points with a reason for every zero, a table of grades, feedback for each student."""

import csv
import re
from collections import defaultdict
from pathlib import Path

from vae_lab.files import replacing

from .assignment import Assignment
from .handed_in import Work
from .integrity import suspicious, tests_changed
from .side_by_side import GRADED

LEFT_OUT = "not right yet (the words are left out here; ask your teacher)"


def judge(work: Work, events: list[dict], ending: str, assignment: Assignment) -> dict:
    """The record of a run: what it earned, what was said to it, what a teacher should look at."""
    replaced = sorted({name for event in events for name in event.get("replaced", ())})
    looks = suspicious(work.cells, assignment.given)

    def tell(said: dict) -> str:
        return LEFT_OUT if looks or replaced else _words(said, work.cells, assignment.secrets)

    cases = defaultdict(dict)  # the last result of a test counts, as with Otter
    for event in events:
        if "case" in event:
            cases[event["question"]][event["case"]] = event
    if ending != GRADED:
        ending += _place(events, work.cells)
    elif not _written(work.cells, assignment):
        ending = "untouched: as it was handed out"
    patched = [f"grader patched: {name} was replaced" for name in replaced]
    return {
        "notebook": work.notebook,
        "status": ending,
        "questions": {
            name: _judged(question, cases[name], tell)
            for name, question in assignment.questions.items()
        },
        "errors": [
            words
            for event in events
            if "error" in event
            if (words := tell(event["error"])) != LEFT_OUT
        ],
        "look": [*work.notes, *patched, *tests_changed(work.room, assignment), *looks],
        "code": work.cells,
    }


def _judged(question, results: dict[int, dict], tell) -> dict:
    """Points of a question, and of its hidden tests, and what public ones said."""
    passed = {i: result["passed"] for i, result in results.items()}
    failed = {i: result["said"] for i, result in sorted(results.items()) if result["said"]}
    return {
        "points": [round(question.score(passed), 5), question.possible()],
        "hidden": [round(question.score(passed, hidden=True), 5), question.possible(hidden=True)],
        "said": [
            ". ".join(filter(None, (tell(said), question.cases[i].hint)))
            for i, said in failed.items()
        ],
        "missing": len(question.cases) - len(results),
    }


def _words(said: dict, cells: list[str], secrets: frozenset[str]) -> str:
    """What an error says and the student's line where it arose; not if it says a piece of a hidden test."""
    words = " ".join(said["words"].split())
    if any(secret.lower() in words.lower() for secret in secrets):
        return LEFT_OUT
    if not said.get("cell"):
        return words
    lines = cells[said["cell"] - 1].splitlines()
    number = min(max(said["line"] or 1, 1), len(lines))
    line = lines[number - 1].strip() if lines else ""
    return f"{words}, in your line `{line}`"


def _place(events: list[dict], cells: list[str]) -> str:
    """Where a run ended that did not end well."""
    began = [event for event in events if "cell" in event or event.keys() == {"question"}]
    if not began:
        return ", before its first cell"
    if "question" in began[-1]:
        return f", in the tests of {began[-1]['question']} or after them"
    first = next(filter(None, map(str.strip, cells[began[-1]["cell"] - 1].splitlines())), "")
    return f", in the cell that begins with `{first[:60]}`"


def _written(cells: list[str], assignment: Assignment) -> bool:
    """Whether there is a line of code that was not handed out."""
    given = {line.strip() for source in assignment.given for line in source.splitlines()}
    return any(line.strip() not in given for source in cells for line in source.splitlines())


def reasons(record: dict) -> list[str]:
    """Why each question that earned nothing did."""
    found = []
    for name, question in record["questions"].items():
        if not question["points"][0] and question["points"][1]:
            hidden = "" if question["missing"] else "hidden tests failed"
            not_run = "not reached" if question["missing"] else ""
            said = question["said"][0] if question["said"] else hidden or not_run
            found.append(f"{name}: {said}")
    return found


def write_table(path: Path, records: list[dict], assignment: Assignment) -> None:
    """A row for everything that was handed in; points only where it was run."""
    by_hand = {
        name: f"{name} (by hand, of {points:g})" for name, points in assignment.by_hand.items()
    }
    ends = ["total", "out of", *by_hand.values(), "why", "look"]
    columns = ["file", "notebook", "assignment", "status", *assignment.questions, *ends]
    with replacing(path) as part, part.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for record in records:
            points = {each: question["points"][0] for each, question in record["questions"].items()}
            row = {
                "file": record["file"],
                "assignment": assignment.name,
                "out of": f"{assignment.possible:g}",
            }
            row |= {each: f"{value:g}" for each, value in points.items()}
            row |= {"total": f"{sum(points.values()):g}"} if points else {}
            row |= {"notebook": record["notebook"], "status": record["status"]}
            row |= {"why": "; ".join(reasons(record)), "look": "; ".join(record["look"])}
            table.writerow({column: _no_formula(value) for column, value in row.items()})


def _no_formula(text: str) -> str:
    """A spreadsheet computes what begins like a formula, even a file's name."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def feedback(record: dict, assignment: Assignment) -> str:
    """What a student may read: points, what failed in the tests' words, nothing of hidden tests."""
    questions = record["questions"]
    total = sum(question["points"][0] for question in questions.values())
    head = f"{total:g} of {assignment.possible:g} points" if questions else "not graded"
    text = [f"# {assignment.name}: {head}", f"{record['file']}: {record['status']}"]
    if questions:
        rows = [f"| {each} | {_of(question['points'])} |" for each, question in questions.items()]
        rows += [
            f"| {each} | marked by a reader, of {p:g} |" for each, p in assignment.by_hand.items()
        ]
        text.append("\n".join(["| question | points |", "|---|---|", *rows]))
    for each, question in questions.items():
        if question["points"][0] < question["points"][1]:
            text += [f"## {each}: {_of(question['points'])}", "\n".join(_items(question))]
    if record["errors"]:
        text += [
            "## Cells that stopped",
            "\n".join(f"- {_plain(words)}" for words in record["errors"]),
        ]
    return "\n\n".join(text) + "\n"


def _items(question: dict) -> list[str]:
    items = [f"- {_plain(words)}" for words in dict.fromkeys(question["said"])]
    if question["missing"]:
        items.append("- not reached: the notebook ended before")
    if question["hidden"][1]:
        items.append(f"- hidden tests: {_of(question['hidden'])} points")
    return items


def _of(points: list[float]) -> str:
    return f"{points[0]:g} of {points[1]:g}"


def _plain(words: str) -> str:
    """Without what Markdown would take as markup."""
    return re.sub(r"(`[^`]*`)|([<*])", lambda found: found[1] or f"\\{found[2]}", words)
