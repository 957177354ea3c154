"""`edgellm tokenize` as a real process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from edgellm.engines.gguf.vocabulary_only import write_vocabulary
from edgellm.language.tokenizer import load_tokenizer
from japanese_samples import SENTENCES, TRAPS, sampled_lines
from tiny_checkpoints import TINY_JA


def run(*arguments: str | Path, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edgellm.cli.main", "tokenize", *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, check=False)


def documents(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def reference(folder: Path, lines: list[str]) -> list[list[int]]:
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    ids: list[list[int]] = model.encode(lines)
    return ids


def test_one_text_gives_one_document() -> None:
    [found] = documents(run("tiny-ja", "--json", "番号札を取る"))
    assert [found["ids"]] == reference(TINY_JA, ["番号札を取る"])
    assert "".join(found["tokens"]) == "▁番号札を取る"
    assert found["agrees"] is True
    assert found["engine_ids"] == found["ids"]


def test_lines_equal_sentencepiece_on_own_text() -> None:
    lines = [*SENTENCES, *(t for t in TRAPS.values() if "\n" not in t)]
    found = documents(run("tiny-ja", "--lines", "-", text="\n".join(lines).encode()))
    assert [f["ids"] for f in found] == reference(TINY_JA, lines)
    assert {f["agrees"] for f in found} == {True, False}


@pytest.mark.parametrize("target", ["tiny-ja", "llm-jp-4"])
def test_2000_lines_of_the_corpus_equal_sentencepiece_and_not_the_engine(target: str, shared: Path) -> None:
    folder = TINY_JA if target == "tiny-ja" else shared / "data" / "llm-jp-4-tokenizer"
    lines = sampled_lines(shared, 2000)
    found = documents(run(folder, "--lines", "-", text="\n".join(lines).encode()))
    assert [f["ids"] for f in found] == reference(folder, lines)
    differing = sum(not f["agrees"] for f in found) / len(found)
    print(f"{target}: the engine's own ids differ on {differing:.1%} of the lines")
    assert differing > 0.3


def test_the_vocabulary_of_a_gguf_gives_the_same_ids(tmp_path: Path) -> None:
    write_vocabulary(load_tokenizer(TINY_JA), tmp_path / "tiny.gguf")
    text = "\n".join([*SENTENCES, "<|start|>"]).encode()
    from_gguf = documents(run(tmp_path / "tiny.gguf", "--lines", "-", text=text))
    assert from_gguf == documents(run("tiny-ja", "--lines", "-", text=text))


def test_standard_input_counts_to_the_last_byte() -> None:
    [found] = documents(run("tiny-ja", "--json", "-", text="あ\n".encode()))
    assert found["tokens"] == ["▁", "あ", "<0x0A>"]


def test_only_a_line_feed_ends_a_line() -> None:
    found = documents(run("tiny-ja", "--lines", "-", text="あ\r\n\n\u2028い\n".encode()))
    assert ["".join(f["tokens"]) for f in found] == ["▁あ<0x0D>", "", "▁<0xE2><0x80><0xA8>い"]


def test_a_person_sees_each_id_with_its_piece() -> None:
    done = run("tiny-ja", "番号札")
    shown = done.stdout.decode()
    assert done.returncode == 0
    for token in reference(TINY_JA, ["番号札"])[0]:
        assert str(token) in shown
    assert "the engine's own vocabulary" in shown


def test_bytes_that_are_no_text_are_refused_with_their_line() -> None:
    done = run("tiny-ja", "--lines", "-", text=b"a\n\xff\n")
    assert (done.returncode, done.stdout) == (2, b"")
    assert "line 2 is not UTF-8" in done.stderr.decode()


def test_a_target_that_is_nothing_is_a_usage_error(tmp_path: Path) -> None:
    done = run(tmp_path / "none", "あ")
    assert done.returncode == 2
    assert b"there is no file or folder" in done.stderr
