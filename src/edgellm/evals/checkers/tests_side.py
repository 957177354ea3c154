"""The program in the tests' sandbox: runs the tests, whose calls go to the answer's sandbox, and tells the verdict.

The verdict is a line that begins with the run's token. The token and the tests are in this sandbox only, so nothing
that the answer prints, patches or ends can be taken for it.
"""

from __future__ import annotations

import builtins
import json
import socket
import sys
import traceback
from typing import Any

from edgellm.evals.checkers.wire import Hung, Peer, Remote

TESTS = "<tests>"


def main(given: dict[str, Any], channel: int) -> None:
    try:
        problem = run(given["tests"], given["function"], channel)
    except BaseException as error:
        problem = f"{described(error)}{where(error, given['tests'])}"
    print()
    print(given["token"] + json.dumps({"passed": problem is None, "reason": problem or ""}), flush=True)


def run(tests: str, function: str, channel: int) -> str | None:
    """None where every test passed."""
    peer = Peer(socket.socket(fileno=channel), serve)
    peer.show = lambda text: sys.stdout.write(text)
    failure, names = peer.ask("names")
    if function and function not in names:
        return f"{function} is not defined" + (f": {failure}" if failure else "")
    # A name of the answer never takes the place of a built-in one, which the tests mean.
    known = {name: value for name, value in names.items() if name == function or not hasattr(builtins, name)}
    exec(compile(tests, TESTS, "exec"), {"__name__": "tests", "__builtins__": builtins, **known})
    return None


def serve(operation: str, target: Any, args: list[Any], named: dict[str, Any]) -> Any:
    """The answer may call what a test handed to it, a key function say, and do nothing else here."""
    if operation != "call" or isinstance(target, (Remote, type)) or not callable(target):
        raise TypeError("only a function can be used")
    return target(*args, **named)


def described(error: BaseException) -> str:
    if isinstance(error, Hung):
        return str(error)
    said = str(error)[:200]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def where(error: BaseException, tests: str) -> str:
    """The test that failed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == TESTS]
    if not lines or lines[0] is None:
        return ""
    return f" at `{tests.splitlines()[lines[0] - 1].strip()[:200]}`"
