"""PLaMo's tokenizer against a plain search written from its definition."""

from __future__ import annotations

import json
import random
import re
from functools import cache
from pathlib import Path

import pytest

from edgellm.errors import BadInput
from edgellm.language import sentencepiece_model as spm
from edgellm.language.plamo import PlamoEncoder, PlamoPieces, breaks_of, run_lengths
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer
from japanese_samples import SENTENCES, TRAPS
from tiny_plamo import BYTES, SPECIAL, write_tokenizer

ALPHABET = "あいうえおかきくけこ亜漢字abc <0x\n\ufeff"
NO_PIECES = "亜漢b"  # in longer pieces only


@pytest.fixture(scope="module")
def many_ties() -> PlamoPieces:
    """Short pieces over few characters with few scores, so that many cuts of a text are equally good."""
    rng = random.Random(0)
    normal: dict[str, float] = {}
    while len(normal) < 400:
        piece = "".join(rng.choices(ALPHABET, k=rng.choice([1, 2, 2, 2, 3, 3, 4, 5])))
        if piece not in NO_PIECES:
            normal[piece] = -float(rng.randint(1, 4)) if rng.random() < 0.8 else -rng.random() * 5
    types = [spm.UNKNOWN] + [spm.CONTROL] * (len(SPECIAL) - 1) + [spm.BYTE] * 256 + [spm.NORMAL] * len(normal)
    return PlamoPieces([*SPECIAL, *BYTES, *normal], [0.0] * (len(SPECIAL) + 256) + list(normal.values()), types)


@cache
def whole_scores(vocabulary: PlamoPieces) -> dict[str, tuple[int, int]]:
    rows = zip(vocabulary.pieces, vocabulary.scores, vocabulary.types, strict=True)
    return {p: (round(s * 1e4), i) for i, (p, s, kind) in enumerate(rows) if kind == spm.NORMAL}


def slow_cut(vocabulary: PlamoPieces, text: str) -> list[int]:
    """The definition: from the end, the best whole-number score of what follows; the longest of equal pieces."""
    scores = whole_scores(vocabulary)
    best: list[tuple[int, int, int]] = [(0, 0, -1)] * (len(text) + 1)  # score from here on, length, id
    for at in range(len(text) - 1, -1, -1):
        best[at] = (best[at + 1][0] - 10_000_000, 1, -1)
        for length in range(1, len(text) - at + 1):
            if (found := scores.get(text[at : at + length])) and best[at + length][0] + found[0] >= best[at][0]:
                best[at] = (best[at + length][0] + found[0], length, found[1])
    ids, at = [], 0
    while at < len(text):
        _, length, token = best[at]
        ids += [token] if token >= 0 else [vocabulary.byte_ids[byte] for byte in text[at].encode()]
        at += length
    return ids


def test_ids_are_those_of_the_definition_ties_and_bytes_included(many_ties: PlamoPieces) -> None:
    rng = random.Random(1)
    texts = ["".join(rng.choices(ALPHABET + "😀界", k=rng.randint(0, 40))) for _ in range(500)]
    texts += ["<0x0A>", "😀😀界", "亜亜亜漢", *SPECIAL]
    assert PlamoEncoder(many_ties).encode_lines(texts) == [slow_cut(many_ties, text) for text in texts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def test_text_comes_back(tokenizer: Tokenizer) -> None:
    for text in [*SENTENCES, *TRAPS.values(), "\ufeff先頭", "  \n\t", "\uee00", *SPECIAL, *BYTES]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_no_text_of_a_user_becomes_a_special_token(tokenizer: Tokenizer) -> None:
    special = set(tokenizer.special_ids.values())
    assert len(special) == len(SPECIAL)
    for name in SPECIAL:
        for text in (name, f"あ{name}い", name[:-1] + name, name * 3):
            assert not special & set(tokenizer.encode(text))
            assert not special & set(tokenizer.encode_parts([Part(text, trusted=False)]))


def test_a_template_names_special_tokens_and_a_turn_ends_an_answer(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_parts([Part("<|plamo:op|>問い<|plamo:msg|>", trusted=True)])
    assert [ids[0], ids[-1]] == [4, 5]
    assert tokenizer.stop_ids == {2, 4}
    assert (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.specials.adds_bos) == (0, 1, 2, False)


def test_plamo3_cuts_runs_and_spelled_names_out_first(many_ties: PlamoPieces) -> None:
    config = {
        "tokenizer_class": "Plamo3Tokenizer", "break_around_repeated_chars_threshold": 4,
        "break_around_consecutive_spaces_threshold": 2,
    }  # fmt: skip
    encoder = PlamoEncoder(many_ties, breaks_of(run_lengths(config)))
    for text, stretches in [
        ("いaaaaあ", ["い", "aaaa", "あ"]),
        ("いaaaあ", ["いaaaあ"]),
        ("か  く き", ["か", "  ", "く き"]),
        ("あ<|plamo:none|>い", ["あ", "<|plamo:none|>", "い"]),
    ]:
        assert encoder.encode_lines([text]) == [[i for s in stretches for i in slow_cut(many_ties, s)]]
    assert not breaks_of(run_lengths(config | {"tokenizer_class": "Plamo2Tokenizer"}))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("not json", "line 3"),
        ('{"piece": 1}', "line 3"),
        ('["x"]', "line 3"),
        ("[7, 1.0]", "line 3"),
        ('["x", "y"]', "line 3"),
        ('["x", -1000.0, "NORMAL"]', "score -1000.0"),
    ],
)
def test_a_damaged_file_is_told_by_its_line(folder: Path, tmp_path: Path, line: str, told: str) -> None:
    lines = (folder / "tokenizer.jsonl").read_text().splitlines()
    (tmp_path / "tokenizer.jsonl").write_text("\n".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(BadInput, match=re.escape(told)):
        load_tokenizer(tmp_path)


def test_a_vocabulary_without_all_bytes_is_refused(folder: Path, tmp_path: Path) -> None:
    lines = [s for s in (folder / "tokenizer.jsonl").read_text().splitlines() if json.loads(s)[0] != "<0x41>"]
    (tmp_path / "tokenizer.jsonl").write_text("\n".join(lines))
    with pytest.raises(BadInput, match="255 of 256 bytes"):
        load_tokenizer(tmp_path)
