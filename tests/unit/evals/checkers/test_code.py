"""What of an answer is code, and what tests can do with code that runs elsewhere."""

from __future__ import annotations

import pytest

from edgellm.errors import BadInput
from edgellm.evals.checkers import check
from edgellm.evals.checkers.code import code_of, problem_with
from edgellm.evals.sandbox import Limits
from sandboxes import needs_sandbox

SPEC = {"question_id": 1001, "turn": 1, "kind": "python", "function": "f", "tests": "assert f(2) == 3"}

HANDED_OVER = {
    "plain values": ("def f(x): return x", "for v in (1, 1.5, 'あ', None, True, 10**5000):\n    assert f(v) == v"),
    "collections": (
        "def f(x): return x",
        "for v in ([1, (2,)], {(1, 2): {3}}, b'x', {1: None}):\n    assert f(v) == v",
    ),
    "kinds": ("def f(): return (1, 2)", "assert f() == (1, 2) and f() != [1, 2] and isinstance(f(), tuple)"),
    "numbers and dates": (
        "def f(x): return x",
        "from decimal import Decimal\nfrom fractions import Fraction\nfrom datetime import date, datetime, timedelta\n"
        "for v in (Decimal('1.10'), Fraction(1, 3), date(2026, 1, 2), datetime(2026, 1, 2, 3), timedelta(1), 1j):\n"
        "    assert f(v) == v and type(f(v)) is type(v)",
    ),
    "changed arguments": ("def f(x): x.sort()", "a = [3, 1]\nassert f(a) is None\nassert a == [1, 3]"),
    "functions as arguments": ("def f(k, x): return sorted(x, key=k)", "assert f(lambda v: -v, [1, 3]) == [3, 1]"),
    "functions as values": ("def f(n): return lambda x: x + n", "assert f(2)(3) == 5"),
    "generators": ("def f():\n    yield 1\n    yield 2", "assert list(f()) == [1, 2]\nassert 2 in f()"),
    "built-in exceptions": (
        "def f(): raise ValueError('no')",
        "try:\n    f()\nexcept ValueError as e:\n    assert str(e) == 'no'\nelse:\n    assert 0",
    ),
    "own exceptions": (
        "class Empty(KeyError): pass\ndef f(): raise Empty('x')",
        "for kind in (Empty, KeyError):\n    try:\n        f()\n    except kind: pass\n    else: assert 0",
    ),
    "what is printed": (
        "def f(): print('こんにちは')",
        "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as out: f()\n"
        "assert out.getvalue() == 'こんにちは\\n'",
    ),
    "objects": (
        "class f:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
        "    def __len__(self): return len(self.items)\n    def __str__(self): return 'stack'\n"
        "    def __eq__(self, other): return self.items == other.items\n"
        "    def __getitem__(self, i): return self.items[i]",
        "a, b = f(), f()\nassert a == b\na.push(3)\nassert len(a) == 1 and a.items == [3] and str(a) == 'stack'\n"
        "assert a != b and a[0] == 3",
    ),
    "named arguments": ("def f(a, *, b=1): return a - b", "assert f(3, b=2) == 1"),
    "keyword dictionaries": (
        "from collections import Counter\ndef f(x): return Counter(x)",
        "assert f('aa') == {'a': 2}",
    ),
}


@needs_sandbox
@pytest.mark.parametrize(("code", "tests"), HANDED_OVER.values(), ids=HANDED_OVER.keys())
def test_values_go_between_tests_and_code(code: str, tests: str) -> None:
    assert problem_with(code, tests, "f") is None


@needs_sandbox
def test_the_first_test_that_fails_is_told() -> None:
    problem = problem_with("def f(x): return x", "assert f(1) == 1\nassert f(2) == 3\nassert f(3) == 4", "f")
    assert problem == "AssertionError at `assert f(2) == 3`"


@needs_sandbox
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(x):\n    while True: pass", "did not end"),
        ("def f(x): return bytearray(10 << 30)", "MemoryError"),
        ("def g(x): return 3", "f is not defined"),
        ("def f(x): return y", "NameError"),
        ("import os\nos._exit(0)", "has ended"),
        ("def f(x): raise ValueError('だめ')", "ValueError: だめ"),
    ],
)
def test_the_reason_says_what_is_wrong(code: str, reason: str) -> None:
    assert reason in str(problem_with(code, "assert f(2) == 3", "f", Limits(seconds=1)))


@needs_sandbox
def test_what_was_defined_before_an_example_failed_is_tested() -> None:
    assert check(SPEC, "```python\ndef f(x):\n    return x + 1\n\nprint(f(int(input())))\n```").score == 1


@needs_sandbox
def test_code_goes_on_with_that_of_an_earlier_turn() -> None:
    first = "```python\ndef g(x):\n    return x + 1\n```"
    assert check(SPEC | {"turn": 2, "with_turn": 1}, "```python\ndef f(x):\n    return g(x)\n```", [first]).score == 1


def test_an_earlier_turn_that_was_not_given_is_an_error() -> None:
    with pytest.raises(BadInput, match="turn 1 was not given"):
        check(SPEC | {"with_turn": 1}, "def f(x): return 3")


def test_tests_that_are_no_python_are_an_error() -> None:
    with pytest.raises(BadInput, match="question 1001, turn 1"):
        check(SPEC | {"tests": "assert f(2) =="}, "def f(x): return 3")


def test_code_is_not_run_and_not_scored_without_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    found = check(SPEC, "```python\ndef f(x): return x + 1\n```")
    assert (found.score, found.status) == (None, "unscored")
    assert "bubblewrap" in found.reason


@pytest.mark.parametrize("answer", ["できません。", "```python\ndef f(x) return\n```", "```json\n{}\n```"])
def test_an_answer_without_code_gets_nothing(answer: str) -> None:
    assert check(SPEC, answer).score == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```python\na = 1\n```\nまたは\n```python\na = 2\n```", "a = 2\n"),
        ("```python\ndef f(): pass\n```\n使い方\n```python\nf()\n```", "def f(): pass\n"),
        ("```\ndef f(): pass\n```\n```bash\npip install x\n```", "def f(): pass\n"),
        ("~~~py\ndef f(): pass\n~~~", "def f(): pass\n"),
        ("- 例\n  ```python\n  def f():\n      pass\n  ```\n", "def f():\n    pass\n"),
        ("```python\ndef f():\n    pass", "def f():\n    pass"),
        ("次のとおりです。\ndef f():\n    return 1\n\nこれで動きます。", "def f():\n    return 1"),
        ("```python\ndef f():\n    '''\n    ```\n    '''\n", "def f():\n    '''\n"),
        ("コードはありません。", ""),
    ],
)
def test_the_code_of_an_answer(answer: str, code: str) -> None:
    assert code_of(answer, "f") == code
