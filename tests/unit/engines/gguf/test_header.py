"""Reading a GGUF's header: the same as the official reader finds, and no damaged file gets through."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.tokenizer import tokenizer_of
from edgellm.errors import BadInput
from edgellm.language.tokenizer import load_tokenizer
from tiny_checkpoints import TINY_JA

MAGIC_AND_VERSION = b"GGUF" + struct.pack("<I", 3)


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("header") / "tiny.gguf"
    convert(TINY_JA, out, "F16")
    return out


def written(path: Path, *, tokens: int = 0) -> gguf.GGUFWriter:
    """A writer with what every model has; the caller adds the rest and calls `finish`."""
    writer = gguf.GGUFWriter(path, "qwen3moe")
    writer.add_context_length(4096)
    if tokens:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([f"t{i}" for i in range(tokens)])
    return writer


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_metadata_and_tensors_are_those_of_the_official_reader(tiny_gguf: Path) -> None:
    expected, found = gguf.GGUFReader(tiny_gguf), read_header(tiny_gguf)
    fields = {k: f.contents() for k, f in expected.fields.items() if not k.startswith("GGUF.")}
    assert found.metadata.keys() == fields.keys()
    for key, value in fields.items():
        np.testing.assert_array_equal(found.metadata[key], value)
    assert [(t.name, t.type, t.size_bytes, t.offset) for t in found.tensors] == [
        (t.name, t.tensor_type.name, t.n_bytes, t.data_offset) for t in expected.tensors
    ]
    assert [t.shape for t in found.tensors] == [tuple(t.shape[::-1]) for t in expected.tensors]


def test_the_header_offers_what_plans_and_tables_need(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    assert header.architecture == "llama"
    assert header.parameters == header.active_parameters == 6_819_072
    assert (header.context_tokens, header.vocab_tokens) == (1024, 8192)
    assert header.special_ids == {"bos": 1, "eos": 2, "unk": 0, "pad": 4}
    assert header.chat_template == (TINY_JA / "chat_template.jinja").read_text(encoding="utf-8")
    assert 16.0 < header.bits_per_weight < 16.02


def test_every_kind_of_value_survives(tmp_path: Path) -> None:
    path, writer = tmp_path / "kinds.gguf", written(tmp_path / "kinds.gguf")
    writer.add_uint8("a.u8", 200)
    writer.add_int8("a.i8", -100)
    writer.add_uint16("a.u16", 60000)
    writer.add_int16("a.i16", -30000)
    writer.add_int32("a.i32", -(2**31))
    writer.add_uint64("a.u64", 2**63)
    writer.add_int64("a.i64", -(2**62))
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.text", "日本語")
    writer.add_array("a.flags", [True, False])
    writer.add_array("a.texts", ["は", "い"])
    writer.add_array("a.nested", [[1, 2], [3]])
    finish(writer)
    found = {k: v for k, v in read_header(path).metadata.items() if k.startswith("a.")}
    assert found.pop("a.flags").tolist() == [True, False]
    assert [v.tolist() for v in found.pop("a.nested")] == [[1, 2], [3]]
    assert found == {
        "a.u8": 200, "a.i8": -100, "a.u16": 60000, "a.i16": -30000, "a.i32": -(2**31), "a.u64": 2**63,
        "a.i64": -(2**62), "a.f64": 0.1, "a.bool": True, "a.text": "日本語", "a.texts": ["は", "い"],
    }  # fmt: skip


def test_only_the_used_share_of_expert_weights_is_active(tmp_path: Path) -> None:
    path, writer = tmp_path / "experts.gguf", written(tmp_path / "experts.gguf")
    writer.add_expert_count(8)
    writer.add_expert_used_count(2)
    writer.add_tensor("token_embd.weight", np.zeros((10, 4), np.float16))
    writer.add_tensor("blk.0.ffn_up_exps.weight", np.zeros((8, 3, 4), np.float16))
    writer.add_tensor("rope_freqs.weight", np.ones(2, np.float32))
    finish(writer)
    header = read_header(path)
    assert (header.parameters, header.active_parameters) == (40 + 96, 40 + 24)
    assert header.tensors[1].shape == (8, 3, 4)


def test_the_large_japanese_vocabulary_is_read_whole(tmp_path: Path) -> None:
    path, writer = tmp_path / "large.gguf", written(tmp_path / "large.gguf", tokens=200_000)
    finish(writer)
    assert read_header(path).tokens[199_999] == "t199999"


def test_the_tokenizer_rebuilt_from_a_gguf_gives_the_checkpoints_ids(tiny_gguf: Path) -> None:
    rebuilt, original = tokenizer_of(read_header(tiny_gguf)), load_tokenizer(TINY_JA)
    for text in ("吾輩は猫である。名前はまだ無い。", "𠮷野家で１２３円\n改行", "<|start|>user"):
        assert rebuilt.encode(text) == original.encode(text)
    assert (rebuilt.bos_id, rebuilt.eos_id, rebuilt.stop_ids) == (1, 2, frozenset({2, 4, 13}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a GGUF file"),
        ("これは文章です".encode(), "not a GGUF file"),
        (b"GGUF", "does not fit"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(16), "big-endian"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(16), "version 1"),
        (MAGIC_AND_VERSION + struct.pack("<QQ", 2**60, 0), "an index of 1,152,921,504,606,846,976 tensors"),
        (MAGIC_AND_VERSION + struct.pack("<QQ", 0, 2**60), "a table of"),
        (MAGIC_AND_VERSION + struct.pack("<QQQ", 0, 1, 2**62) + bytes(8), "a text of"),
        (MAGIC_AND_VERSION + struct.pack("<QQQ1sI", 0, 1, 1, b"k", 99), "unknown kind of value 99"),
        (MAGIC_AND_VERSION + struct.pack("<QQQ1sIIQ", 0, 1, 1, b"k", 9, 6, 2**60), "a list of"),
        (MAGIC_AND_VERSION + struct.pack("<QQQ1sIIQ", 0, 1, 1, b"k", 9, 8, 2**60), "a list of"),
        (
            MAGIC_AND_VERSION + struct.pack("<QQQ1sI", 0, 1, 1, b"k", 9) + struct.pack("<IQ", 9, 1) * 9,
            "nested",
        ),
        (MAGIC_AND_VERSION + struct.pack("<QQQ1sI", 1, 0, 1, b"t", 2**31) + bytes(16), "dimensions"),
        (MAGIC_AND_VERSION + struct.pack("<QQQ1sIQIQ", 1, 0, 1, b"t", 1, 32, 4095, 0), "type number 4095"),
        (MAGIC_AND_VERSION + struct.pack("<QQQ1sIQIQ", 1, 0, 1, b"t", 1, 100, 12, 0), "rows of 100 values"),
        (MAGIC_AND_VERSION + struct.pack("<QQQ1sIQIQ", 1, 0, 1, b"t", 1, 2**62, 0, 0), "cut short"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        read_header(path)


@pytest.mark.parametrize(
    ("keys", "offsets", "message"),
    [
        ((b"k", b"k"), (), "the key k stands there twice"),
        ((), ((b"t", 0), (b"t", 32)), "two tensors t"),
        ((), ((b"t", 0), (b"u", 0)), "tensor u begins at byte"),
        ((), ((b"t", 0), (b"u", 8)), "tensor u begins at byte"),
        ((), ((b"t", 0), (b"u", 64)), "tensor u begins at byte"),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(
    tmp_path: Path, keys: tuple[bytes, ...], offsets: tuple[tuple[bytes, int], ...], message: str
) -> None:
    """Each tensor, of one F32, has to follow the one before, at a multiple of 32."""
    head = MAGIC_AND_VERSION + struct.pack("<QQ", len(offsets), len(keys))
    head += b"".join(struct.pack("<Q1sIB", 1, key, 0, 5) for key in keys)
    head += b"".join(struct.pack("<Q1sIQIQ", 1, name, 1, 1, 0, offset) for name, offset in offsets)
    (tmp_path / "lying.gguf").write_bytes(head + bytes(256))
    with pytest.raises(BadInput, match=message):
        read_header(tmp_path / "lying.gguf")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tokenizer.ggml.scores", "high", "no list of such numbers"),
        ("tokenizer.ggml.scores", [1, 2], "no list of such numbers"),
        ("tokenizer.ggml.token_type", [1.5], "no list of such numbers"),
        ("tokenizer.ggml.add_bos_token", 1, "neither true nor false"),
        ("tokenizer.ggml.tokens", [1], "no list of texts"),
        ("tokenizer.ggml.bos_token_id", 3, "bos token has the id 3 of only 3"),
        ("tokenizer.ggml.token_type", [1, 1, 0], "unknown kind 0"),
    ],
)
def test_a_vocabulary_of_the_wrong_kinds_is_refused_with_its_file(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    path, writer = tmp_path / "kinds.gguf", gguf.GGUFWriter(tmp_path / "kinds.gguf", "llama")
    vocabulary = {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["<unk>", "a", "b"],
        "tokenizer.ggml.scores": [0.0, -1.5, -2.5], "tokenizer.ggml.token_type": [2, 1, 1],
    }  # fmt: skip
    kind = gguf.GGUFValueType.get_type
    for name, content in (vocabulary | {key: value}).items():
        writer.add_key_value(name, content, kind(content), kind(content[0]) if isinstance(content, list) else None)
    finish(writer)
    with pytest.raises(BadInput, match=message) as refusal:
        tokenizer_of(read_header(path))
    assert str(path) in str(refusal.value)


def test_no_file_cut_anywhere_gets_through(tiny_gguf: Path, tmp_path: Path) -> None:
    data = tiny_gguf.read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in [*range(0, 900, 7), 5_000, 100_000, 180_000, 200_000, len(data) - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(BadInput):
            read_header(cut)


def test_metadata_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    path, writer = tmp_path / "wrong.gguf", gguf.GGUFWriter(tmp_path / "wrong.gguf", "llama")
    writer.add_string("llama.context_length", "long")
    finish(writer)
    with pytest.raises(BadInput, match=r"llama\.context_length .* no whole number"):
        _ = read_header(path).context_tokens
