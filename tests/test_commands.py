"""Wrong arguments of every command: refused in a sentence that names them, before anything is done."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = tuple(
    f"benchmarks.{name}" for name in ("time_to_elbo", "levers", "in_page", "scaling", "gpu", "missions")
)
ASSIGNMENTS = ("assignments.generate", "assignments.grade")
COMMANDS = (*BENCHMARKS, "vae_lab.experiments", "vae_lab.data", "vae_lab.colors", *ASSIGNMENTS)

FOLDERS = {  # what --out may be told, and why that cannot be
    "": "path",
    "a\0b": "path",
    "~nobody-of-this-name/x": "home",
    "{file}": "file",
    "{file}/within": "file/within",
}
NUMBERS = ("0", "-1", "1.5", "nan", "many", "")


def wrong():
    """(command, arguments, a word that must be in what is said)"""
    for name in COMMANDS:
        yield name, ("--no-such-option",), "--no-such-option"
        yield name, ("no-such-name",), "no-such-name"
    for name in (*BENCHMARKS, "vae_lab.experiments"):
        for folder, word in FOLDERS.items():
            yield name, ("--quick",) * (name in BENCHMARKS) + ("--out", folder), word
        yield name, ("--out",), "--out"
    for name in BENCHMARKS[:3]:
        for number in NUMBERS:
            yield name, ("--repetitions", number), "--repetitions"
    for number in NUMBERS:
        yield "benchmarks.levers", ("--seeds", number), "--seeds"
        yield "benchmarks.missions", ("--seeds", number), "--seeds"
    yield "vae_lab.experiments", ("mnist-dense", "--scale", "half"), "--scale"
    yield "vae_lab.experiments", ("mnist-dense", "--list"), "--list"
    yield "vae_lab.data", ("--fetch", "here"), "here"
    for option in ("--jobs", "--time", "--memory"):
        for number in NUMBERS:
            yield "assignments.grade", ("1-bottleneck", ".", option, number), option


def main_of(name: str):
    package = importlib.import_module(name)
    return getattr(package, "main", None) or importlib.import_module(f"{name}.__main__").main


@pytest.mark.parametrize(("name", "arguments", "word"), list(wrong()))
def test_a_wrong_argument_is_refused_in_a_sentence(name, arguments, word, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    given = [a.format(file=tmp_path / "file") for a in arguments]
    if name == "vae_lab.experiments" and given[0] == "--out":
        given = ["mnist-dense", "--scale", "quick", *given]
    try:
        status = main_of(name)(given)
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr().err
    assert status in (1, 2) and word in said.splitlines()[-1]
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_there_is(name, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main_of(name)(["--help"])
    said = capsys.readouterr().out
    assert f"python -m {name}" in said and len(said.splitlines()) > 3


def test_a_command_runs_by_its_name():
    subprocess.run([sys.executable, "-m", COMMANDS[0], "--help"], cwd=ROOT, capture_output=True, check=True)
