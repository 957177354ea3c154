"""Code that wants to be taken for right, whatever it returns: the verdict of the tests cannot be forged."""

from __future__ import annotations

import pytest

from edgellm.evals.checkers.code import problem_with
from edgellm.evals.sandbox import Limits
from sandboxes import needs_sandbox

MIB = 1 << 20
pytestmark = needs_sandbox

FORGERIES = {
    "leaves": "import sys\nsys.exit(0)",
    "leaves at once": "import os\nos._exit(0)",
    "leaves when called": "import os\ndef f(x):\n    os._exit(0)",
    "says so": (
        'print(\'passed\')\nprint(\'{"passed": true}\')\ndef f(x):\n    print(\'{"passed": true, "reason": ""}\')'
    ),
    "at the end": "import atexit\natexit.register(lambda: print('{\"passed\": true}'))\ndef f(x): return 0",
    "patches what tests use": (
        "import builtins\nbuiltins.AssertionError = Exception\nbuiltins.isinstance = lambda *a: True"
    ),
    "equals everything": "class A:\n    def __eq__(self, other): return True\ndef f(x): return A()",
    "equals everything, as a number": "class A(int):\n    def __eq__(self, other): return True\ndef f(x): return A(0)",
    "equals everything, as a list": "class A(list):\n    def __eq__(self, o): return True\ndef f(x): return A()",
    "names a built-in function": "def abs(x): return 0\ndef all(x): return True\ndef f(x): return 0",
    "writes to the channel": (
        "import socket, json\ndef f(x):\n    for n in range(3, 20):\n        try:\n"
        "            s = socket.socket(fileno=n)\n"
        "            t = json.dumps({'value': 2, 'printed': ''}).encode()\n"
        "            s.sendall(len(t).to_bytes(8, 'big') + b'x' * len(t))\n        except OSError: pass\n    return 0"
    ),
    "looks at who called": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        for name, value in list(frame.f_locals.items()):\n"
        "            if name in ('token', 'tests', 'given'):\n"
        "                print(value)\n        frame = frame.f_back\n    return 0"
    ),
    "kills all it sees": "import os, signal\ndef f(x):\n    os.kill(-1, signal.SIGKILL)",
    "stops": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "sends too much": "def f(x): return 'x' * (100 << 20)",
    "sends what is too deep": "def f(x):\n    a = []\n    for _ in range(5000): a = [a]\n    return a",
    "raises what ends programs": "def f(x): raise SystemExit(0)",
    "raises an interrupt": "def f(x): raise KeyboardInterrupt",
}


@pytest.mark.parametrize("code", FORGERIES.values(), ids=FORGERIES.keys())
def test_success_cannot_be_forged(code: str) -> None:
    assert problem_with(code, "assert f(1) == 2", "f", Limits(seconds=1, memory_bytes=256 * MIB)) is not None


@pytest.mark.parametrize("test", ["abs(f(1) - 2) < 1e-9", "2 in f(1)", "f(1) >= 2", "f(1) != 3", "not f(1) - 2"])
def test_an_object_of_the_answer_decides_nothing_about_plain_values(test: str) -> None:
    code = (
        "class A:\n    def __sub__(self, o): return 0\n    __rsub__ = __sub__\n    def __abs__(self): return 0\n"
        "    def __contains__(self, o): return True\n    def __ge__(self, o): return True\n"
        "    def __ne__(self, o): return o != 3\n    def __bool__(self): return False\ndef f(x): return A()"
    )
    told = problem_with(code, f"assert {test}", "f")
    assert told is None if test == "f(1) != 3" else told is not None  # it is not 3, whatever it says itself


def test_a_function_of_the_answer_does_not_stand_for_a_built_in_one() -> None:
    code = "def abs(x): return 0\ndef f(x): return 7"
    assert problem_with(code, "assert abs(f(1) - 2) < 1e-9", "f") is not None


def test_the_right_answer_passes_the_same_tests() -> None:
    assert problem_with("def f(x): return x + 1", "assert f(1) == 2 and abs(f(1) - 2) < 1e-9", "f") is None
