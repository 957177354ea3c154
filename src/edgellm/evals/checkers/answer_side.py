"""The program in the answer's sandbox: runs the answer's code, then does what the tests ask of it.

It knows neither the tests nor what they expect: it sees the arguments of one call after the other.
"""

from __future__ import annotations

import contextlib
import io
import operator
import os
import socket
import sys
import types
from collections.abc import Callable
from typing import Any

from edgellm.evals.checkers.wire import PAIRWISE, Peer

MOST_PRINTED = 64 << 10
UNARY: dict[str, Callable[[Any], Any]] = {
    "len": len, "bool": bool, "str": str, "repr": repr, "iter": iter, "next": next,
    "enter": lambda value: value.__enter__(), "exit": lambda value: value.__exit__(None, None, None),
}  # fmt: skip
BINARY: dict[str, Callable[..., Any]] = {
    "get": getattr, "set": setattr, "getitem": operator.getitem, "setitem": operator.setitem,
    "delitem": operator.delitem, **{name: getattr(operator, f"__{name}__") for name in PAIRWISE},
}  # fmt: skip


def main(code: str, channel: int) -> None:
    answer = types.ModuleType("answer")  # not `__main__`: what stands under that condition is not asked for
    sys.modules["answer"] = answer
    printed = io.StringIO()
    sys.stdout = printed
    failure = ""
    try:
        exec(compile(code, "<answer>", "exec"), answer.__dict__)
    except BaseException as error:
        # An example below the functions may want input or end the program; what was defined before it stands.
        failure = f"{type(error).__name__}: {error}"
    if not isinstance(sys.stdout, io.StringIO):
        sys.stdout = printed
    taken(printed)

    def serve(operation: str, target: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if operation == "names":
            return [failure, {name: value for name, value in vars(answer).items() if not name.startswith("__")}]
        if operation == "call":
            return target(*args, **named)
        return UNARY[operation](target) if operation in UNARY else BINARY[operation](target, *args)

    peer = Peer(socket.socket(fileno=channel), serve)
    peer.printed = lambda: taken(printed)
    peer.serve_until_closed()
    with contextlib.suppress(BaseException):
        sys.stderr.flush()
    os._exit(0)


def taken(printed: io.StringIO) -> str:
    text = printed.getvalue()[:MOST_PRINTED]
    printed.seek(0)
    printed.truncate()
    return text
