"""Whether the Python of an answer does what tests ask, without ever being believed.

The tests run in one sandbox and the answer's code in another; between them go calls and plain values. The code cannot
see the tests, end them, patch what they use, or speak for them: a verdict is a line with a random token that only the
tests' sandbox holds. What is left: code that knows the published tests can give back their values by heart; objects of
the answer's own classes are asked by reference, so a test of such an object trusts its methods' values, never its
comparisons with plain values.
"""

from __future__ import annotations

import ast
import json
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from edgellm.errors import SandboxMissing
from edgellm.evals.checkers.outcome import Checked, broken, missed, needed, passed
from edgellm.evals.sandbox import LIMITS, Limits, Program, Ran, run_together

HERE = Path(__file__).parent
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.M | re.S)
_PYTHON = ("", "python", "python3", "py")
_BEGINS = re.compile(r"^(def |class |import |from \w+ import |@|async def )")
_ENDED = {
    "time": "it did not end within {seconds:g} s",
    "cpu": "it did not end within {cpu_seconds} s of processor time",
    "memory": "it took more memory than {mebibytes} MiB",
    "processes": "it started more than {processes} processes",
    "output": "it printed without end",
    "files": "it made files without end",
}


def check_python(spec: Mapping[str, Any], answer: str, earlier: Sequence[str] = ()) -> Checked:
    """1 if every test passes. `earlier`: the answers of earlier turns, for a check `with_turn`."""
    tests, function = needed(spec, "tests", str), str(spec.get("function", ""))
    try:
        compile(tests, "tests", "exec")
    except SyntaxError as error:
        raise broken(spec, f"its tests are no Python ({error.msg}, line {error.lineno})") from error
    parts = [answer]
    if (turn := spec.get("with_turn")) is not None:
        if not isinstance(turn, int) or not 1 <= turn <= len(earlier):
            raise broken(spec, f"the answer of its turn {turn!r} was not given")
        parts.insert(0, earlier[turn - 1])
    found = [code_of(part, function) for part in parts]
    code = "\n\n".join(part for part in found if part)
    if not code:
        return missed("there is no Python in it")
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return missed(f"its code is no Python: {getattr(error, 'msg', error)}, line {getattr(error, 'lineno', '?')}")
    try:
        problem = problem_with(code, tests, function)
    except SandboxMissing as error:
        return Checked(None, "unscored", str(error))
    return passed() if problem is None else missed(problem)


def problem_with(code: str, tests: str, function: str = "", limits: Limits = LIMITS) -> str | None:
    """None where every test passes, or what is wrong. Raises SandboxMissing where nothing can be run."""
    token = secrets.token_hex(16)
    of_tests, of_answer = socket.socketpair()
    with of_tests, of_answer:
        judge, judged = run_together(
            [
                program("tests_side", {"tests": tests, "function": function, "token": token}, of_tests),
                program("answer_side", code, of_answer),
            ],
            limits,
            closing=(of_tests, of_answer),
        )
    verdict = next((line for line in reversed(judge.stdout.splitlines()) if line.startswith(token)), None)
    if (ended := _ended(judged, limits)) or verdict is None:
        return ended or _ended(judge, limits) or "the tests came to no verdict"
    found = json.loads(verdict.removeprefix(token))
    return None if found["passed"] is True else str(found["reason"])


def program(side: str, given: Any, channel: socket.socket) -> Program:
    module = f"edgellm.evals.checkers.{side}"
    modules = {f"edgellm.evals.checkers.{name}": _text(name) for name in ("wire", side)}
    return Program(f"from {module} import main\nmain(given, channel)\n", modules, given, channel)


@cache
def _text(name: str) -> str:
    return (HERE / f"{name}.py").read_text(encoding="utf-8")


def _ended(ran: Ran, limits: Limits) -> str | None:
    said = _ENDED.get(ran.killed_by)
    return said and said.format(
        seconds=limits.seconds, cpu_seconds=limits.cpu_seconds, processes=limits.processes,
        mebibytes=limits.memory_bytes >> 20,
    )  # fmt: skip


def code_of(answer: str, function: str = "") -> str:
    """The Python of an answer: its last block that defines the function, else its last block, else bare code."""
    blocks = [text for _, name, text in _FENCE.findall(answer) if name.lower() in _PYTHON and text.strip()]
    if not blocks:
        return _bare(answer)
    if function:
        name = re.escape(function)
        defines = re.compile(rf"^\s*(?:async\s+def|def|class)\s+{name}\b|^{name}\s*=", re.M)
        defining = [text for text in blocks if defines.search(text)]
        return _flush(defining[-1] if defining else blocks[-1])
    return _flush(blocks[-1])


def _flush(text: str) -> str:
    """Without what every line begins with, as in a block below a list item."""
    import textwrap

    return textwrap.dedent(text)


def _bare(answer: str) -> str:
    """Code without a fence: from the first line that looks like it, as far as it can be read."""
    lines = answer.splitlines()
    first = next((number for number, line in enumerate(lines) if _BEGINS.match(line)), None)
    if first is None:
        return ""
    for last in range(len(lines), first, -1):
        if not lines[last - 1].strip():
            continue
        text = "\n".join(lines[first:last])
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return text
    return "\n".join(lines[first:])
