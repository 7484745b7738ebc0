"""A notebook run cell by cell, and after each cell the tests that it asks for.

As with Otter, a failing cell does not stop the next ones, tests see the notebook's names as they are where
`grader.check` stands, and what was never checked is checked at the end. Other than with Otter, the tests come
from memory, and each result is reported as soon as it is there.
"""

import json
import os
import re
import traceback
from collections.abc import Callable

import matplotlib.pyplot as plt
import otter
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from .assignment import Assignment, Question
from .integrity import Guard

CHECK = re.compile(r"""^[ \t]*\w+\.check\(\s*["'](\w+)["']\s*\)[ \t]*$""", re.M)


def prepare() -> Guard:
    """Before any student's code: the notebook's own `grader` does nothing, and a guard remembers the rest.

    No Apple GPU either: it does not survive a fork.
    """
    torch.backends.mps.is_available = lambda: False
    otter.Notebook.init_grading_mode("./tests")
    otter.Notebook.check = otter.Notebook.check_all = lambda *args, **options: None
    return Guard()


def run(cells: list[str], assignment: Assignment, guard: Guard, send: Callable[..., None]) -> None:
    """Run code cells in the current folder and `send` what happens, event by event."""
    shell, where, restore = _shell(), {}, guard.restore
    name_of = shell.compile.get_code_name
    unchecked = dict(assignment.questions)

    def check(question: Question) -> None:
        send(replaced=restore())
        _test(question, shell.user_ns, where, send)
        unchecked.pop(question.name, None)

    for number, source in enumerate(cells, 1):
        send(cell=number)

        def named(*code, number=number):
            name = name_of(*code)
            where[name] = number
            return name

        shell.compile.get_code_name = named
        if not CHECK.fullmatch(source.strip()):
            result = shell.run_cell(source, store_history=False)
            if error := result.error_before_exec or result.error_in_exec:
                send(error={"cell": number, **_explain(error, where)})
        plt.close("all")
        for name in filter(assignment.questions.get, CHECK.findall(source)):
            check(assignment.questions[name])
    for question in list(unchecked.values()):
        check(question)
    send(replaced=restore())


def sender(pipe: int, mark: bytes) -> Callable[..., None]:
    """A function that writes an event to `pipe`, as `mark` and a line of JSON."""
    write, dumps = os.write, json.dumps

    def send(**event):
        line = mark + dumps(event).encode() + b"\n"
        while line:
            line = line[write(pipe, line) :]

    return send


def _shell() -> InteractiveShell:
    """A shell that keeps no history and prints no tracebacks, which take long."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.showtraceback = shell.showsyntaxerror = lambda *args, **options: None
    shell.ask_exit = _leave
    return shell


def _leave() -> None:
    """`exit()` ends its cell, as `sys.exit()` does."""
    raise SystemExit


def _test(question: Question, names: dict, where: dict[str, int], send: Callable) -> None:
    """Run the tests of a question; what hidden ones say is not told."""
    send(question=question.name)
    for i, case in enumerate(question.cases):
        said = None
        try:
            case.function(
                **{name: names if name == "env" else names.get(name) for name in case.names}
            )
        except BaseException as error:  # SystemExit of a student's function, too
            said = _explain(error, where)
        shown = None if case.hidden else said
        send(question=question.name, case=i, passed=said is None, said=shown)


def _explain(error: BaseException, where: dict[str, int]) -> dict:
    """What an error says, whether it is a test that says so, and the student's cell and line if it is not."""
    frames = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [(where[name], line) for name, line in frames if name in where]
    unparsed = isinstance(error, SyntaxError) and not own
    try:
        words = str(error.msg if unparsed else error)[:2000]
        if unparsed:
            own = [(max(where.values(), default=1), int(error.lineno))]
    except BaseException:  # of a message that a student wrote
        words = ""
    if type(error) is AssertionError and frames and frames[-1][0] not in where:
        return {"words": words}
    cell, line = own[-1] if own else (None, None)
    return {
        "words": f"{type(error).__name__}: {words}".removesuffix(": "),
        "cell": cell,
        "line": line,
    }
