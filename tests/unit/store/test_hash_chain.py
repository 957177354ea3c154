"""A chain of hashed lines: what is added, what is noticed, and how it goes on after a crash."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.errors import BadInput, Busy
from edgellm.store.hash_chain import ChainLog, ChainReport, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def written(path: Path, *values: object) -> str:
    """The head after a line for each value."""
    log = ChainLog(path)
    for value in values:
        log.append({"value": value})
    log.sync()
    log.close()
    return log.head


def test_a_chain_goes_on_after_a_restart_and_is_whole(path: Path) -> None:
    written(path, 1, "二")
    head = written(path, 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["previous"] for line in lines] == ["", lines[0]["hash"], lines[1]["hash"]]
    assert verify(path) == ChainReport(3, head)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_log_is_whole(path: Path) -> None:
    written(path)
    assert verify(path) == ChainReport(0, "")


def edited(line: str) -> str:
    return line.replace('"value":2', '"value":7')


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda ls: [ls[0], edited(ls[1]), *ls[2:]], 2),
        (lambda ls: [ls[0], *ls[2:]], 2),
        (lambda ls: ls[1:], 1),
        (lambda ls: [ls[0], ls[2], ls[1], *ls[3:]], 2),
        (lambda ls: [*ls, ls[0]], 5),
        (lambda ls: [ls[0], ls[0], *ls[1:]], 2),
        (lambda ls: [*ls[:2], "garbage", *ls[2:]], 3),
        (lambda ls: [*ls, "garbage"], 5),
        (lambda ls: [ls[0].replace(",", ", "), *ls[1:]], 1),
        (lambda ls: [ls[0].replace("{", '{"a":1,', 1), *ls[1:]], 1),
        (lambda ls: [*ls[:3], "[]", ls[3]], 4),
    ],
)
def test_the_first_broken_line_is_told(path: Path, change: object, broken: int) -> None:
    written(path, 1, 2, 3, 4)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")  # type: ignore[operator]
    report = verify(path)
    assert not report.whole
    assert report.broken_line == broken
    assert report.problem


def test_lines_cut_off_at_the_end_show_only_against_a_kept_head(path: Path) -> None:
    middle = written(path, 1, 2)
    head = written(path, 3)
    assert verify(path, head).whole
    assert verify(path, middle).whole  # it has gone on since
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert verify(path).whole
    report = verify(path, head)
    assert not report.whole
    assert "kept head" in report.problem


@pytest.mark.parametrize("piece", [b'{"hash":"sha256:0', b'{"hash":"sha256:0\n{"\xe5\x80', b"\x00\n\n{"])
def test_after_a_crash_within_a_line_the_chain_goes_on_and_names_what_was_left(path: Path, piece: bytes) -> None:
    written(path, 1, 2)
    with open(path, "ab") as file:
        file.write(piece)
    left = verify(path)
    assert left.whole
    assert left.records == 2
    assert left.unfinished_bytes
    written(path, 3)
    head = written(path, 4)
    report = verify(path)
    assert (report.whole, report.records, report.head, report.unfinished_bytes) == (True, 4, head, 0)
    assert report.torn_lines >= 1


def test_a_crash_within_the_first_line_is_got_over(path: Path) -> None:
    path.write_bytes(b'{"endpo')
    written(path, 1)
    assert verify(path).whole


def test_a_piece_that_is_changed_or_removed_afterwards_breaks_the_chain(path: Path) -> None:
    written(path, 1)
    with open(path, "ab") as file:
        file.write(b'{"half')
    written(path, 2)
    text = path.read_text()
    path.write_text(text.replace('{"half', '{"hulf'))
    assert verify(path).broken_line == 2
    path.write_text(text.replace('{"half\n', ""))
    assert not verify(path).whole


def test_only_one_process_may_add(path: Path) -> None:
    log = ChainLog(path)
    with pytest.raises(Busy, match="another process"):
        ChainLog(path)
    log.close()
    written(path, 1)


@pytest.mark.parametrize("content", [b"hello\n", b"GGUF", b'{"a":1}\n', b'{"previous":"","hash":"sha256:00"}\n'])
def test_a_file_that_is_no_chain_is_never_added_to(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BadInput, match="another file"):
        ChainLog(path)
    assert path.read_bytes() == content


def test_a_line_longer_than_what_is_read_at_once_is_gone_on_from(path: Path) -> None:
    written(path, "あ" * 100_000)
    written(path, 2)
    assert verify(path).records == 2


def test_a_killed_writer_has_lost_no_line_that_it_wrote(path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom edgellm.store.hash_chain import ChainLog\n"
        "log = ChainLog(Path(sys.argv[1]))\n"
        "for n in range(20): log.append({'value': n})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, os.fspath(path)], check=False)
    assert done.returncode == -9
    assert verify(path).records == 20
    written(path, "after")
    assert verify(path).whole
