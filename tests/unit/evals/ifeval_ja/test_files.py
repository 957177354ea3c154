from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgellm.errors import BadInput
from edgellm.evals.ifeval_ja.files import read_given, read_items

ROW = {"key": 1, "prompt": "海を", "instruction_id_list": ["ja:punctuation:no_comma"], "kwargs": [{}]}


def written(path: Path, *rows: Any, mark: bytes = b"") -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes(mark + "\n".join(lines).encode())
    return path


def test_a_byte_order_mark_and_line_separators_within_strings_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "items.jsonl", {**ROW, "prompt": "海\u2028山\u0085"}, mark=b"\xef\xbb\xbf")
    assert [item.prompt for item in read_items(path)] == ["海\u2028山\u0085"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "line 3 is no JSON"),
        ("[]", "line 3 is no JSON object"),
        ({**ROW, "key": None}, "line 3: a prompt needs a key"),
        ({**ROW, "key": 2, "prompt": ""}, "line 3: a prompt needs its text"),
        ({**ROW, "key": 2, "instruction_id_list": []}, "line 3: a prompt needs a list"),
        ({**ROW, "key": 2, "kwargs": []}, "line 3: `kwargs` must have one object"),
        ({**ROW, "key": 2, "kwargs": [3]}, "line 3: each of `kwargs`"),
        ({**ROW, "key": 2, "instruction_id_list": ["ja:no:rule"]}, "line 3: there is no rule ja:no:rule"),
        (ROW, "line 3: there is another prompt with the key 1"),
    ],
)
def test_a_broken_line_of_items_is_named_with_its_number(tmp_path: Path, row: Any, said: str) -> None:
    path = written(tmp_path / "items.jsonl", ROW, "", row)
    with pytest.raises(BadInput, match=said):
        read_items(path)


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no prompt"):
        read_items(written(tmp_path / "items.jsonl", ""))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes("海".encode("shift_jis"))
    with pytest.raises(BadInput, match="not UTF-8"):
        read_items(path)


def test_responses_are_matched_by_prompt_then_by_key_and_the_last_one_counts(tmp_path: Path) -> None:
    items = read_items(written(tmp_path / "items.jsonl", ROW, {**ROW, "key": "b", "prompt": "山を"}))
    path = written(
        tmp_path / "responses.jsonl",
        {"prompt": "海を", "response": "一"},
        {"prompt": "海を", "response": "二"},
        {"key": "b", "response": None},
        {"prompt": "川を", "response": "三"},
    )
    given, strangers = read_given(path, items)
    assert {key: row.response for key, row in given.items()} == {"1": "二", "b": None}
    assert strangers == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "海を"}, "line 1: a row needs its answer"),
        ({"prompt": "海を", "response": 3}, "line 1: a row needs its answer"),
        (
            {"prompt": "海を", "response": "", "follow_instruction_list": [True, True]},
            "line 1: the verdicts are of other",
        ),
        ({"prompt": "川を", "response": ""}, "no row of .* answers one of the prompts"),
    ],
)
def test_responses_that_cannot_be_scored_are_refused_with_their_reason(tmp_path: Path, row: Any, said: str) -> None:
    items = read_items(written(tmp_path / "items.jsonl", ROW))
    with pytest.raises(BadInput, match=said):
        read_given(written(tmp_path / "responses.jsonl", row), items)
