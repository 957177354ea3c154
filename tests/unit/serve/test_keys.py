from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.errors import BadInput, UsageError
from edgellm.serve.keys import read_keys


def test_keys_are_one_a_line_with_comments_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# staff\nabc\n\n  def  \n")
    assert read_keys(path) == ["abc", "def"]


@pytest.mark.parametrize("content", [b"", b"# none\n", b"\xff\xfe"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="one key a line"):
        read_keys(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no key file"):
        read_keys(tmp_path / "keys")
