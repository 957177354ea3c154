"""Text as it comes: whole characters, no dummy spaces, and the same text as decoding all ids at once."""

from __future__ import annotations

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.language.stream import StreamingDetokenizer
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer
from japanese_samples import SENTENCES, TRAPS
from tiny_checkpoints import TINY_JA

BYTE_0 = 14  # id of <0x00> in tiny-ja


ORACLE = sentencepiece.SentencePieceProcessor(model_file=str(TINY_JA / "tokenizer.model"))


@pytest.fixture(scope="module")
def tiny() -> Tokenizer:
    return load_tokenizer(TINY_JA)


def streamed(tokenizer: Tokenizer, ids: list[int], skip_special: bool = True) -> list[str]:
    stream = StreamingDetokenizer(tokenizer, skip_special)
    return [*map(stream.feed, ids), stream.finish()]


def byte_ids(data: bytes) -> list[int]:
    return [BYTE_0 + b for b in data]


def test_a_half_character_is_held_back_until_it_is_whole(tiny: Tokenizer) -> None:
    assert streamed(tiny, byte_ids("鱻a".encode())) == ["", "", "鱻", "a", ""]
    assert streamed(tiny, byte_ids("👍".encode())) == ["", "", "", "👍", ""]


def test_bytes_that_can_become_no_character_give_a_replacement_as_soon_as_that_is_sure(
    tiny: Tokenizer,
) -> None:
    (a,) = tiny.encode("あ")[1:]
    assert streamed(tiny, [*byte_ids(b"\xe9\xb1"), a]) == ["", "", "�あ", ""]
    assert streamed(tiny, byte_ids(b"\xff")) == ["�", ""]


def test_a_character_cut_short_by_the_end_gives_a_replacement(tiny: Tokenizer) -> None:
    assert streamed(tiny, byte_ids(b"\xe9\xb1")) == ["", "", "�"]


def test_a_special_token_ends_a_character(tiny: Tokenizer) -> None:
    assert streamed(tiny, [*byte_ids(b"\xe9"), 11, *byte_ids(b"a")]) == ["", "�", "a", ""]


def test_the_dummy_space_goes_once_after_each_special_token(tiny: Tokenizer) -> None:
    ids = tiny.encode_parts([Part("<|start|>", True), Part("  二つ", False), Part("<|end|>次", True)])
    assert tiny.decode(ids, skip_special=False) == "<|start|>  二つ<|end|>次"
    assert tiny.decode(ids) == "  二つ次"


def test_a_space_that_came_as_a_byte_is_kept(tiny: Tokenizer) -> None:
    assert tiny.decode(byte_ids(b" a")) == " a"


@given(ids=st.lists(st.integers(0, 8191)), skip=st.booleans())
@settings(deadline=None, max_examples=200)
def test_the_pieces_together_are_the_decoded_whole(tiny: Tokenizer, ids: list[int], skip: bool) -> None:
    pieces = streamed(tiny, ids, skip)
    assert "".join(pieces) == tiny.decode(ids, skip)
    for piece in pieces:
        piece.encode("utf-8")  # no half of anything


@given(ids=st.lists(st.integers(BYTE_0 + 256, 8191)))
@settings(deadline=None, max_examples=200)
def test_ordinary_pieces_decode_as_sentencepiece_decodes_them(tiny: Tokenizer, ids: list[int]) -> None:
    assert tiny.decode(ids) == ORACLE.decode(ids)


def test_encoded_text_decodes_as_sentencepiece_decodes_it(tiny: Tokenizer) -> None:
    for text in [*SENTENCES, *TRAPS.values()]:
        ids = tiny.encode(text)
        assert "".join(streamed(tiny, ids)) == ORACLE.decode(ids)
