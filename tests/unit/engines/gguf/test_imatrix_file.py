from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgellm.engines.gguf.imatrix_file import Entry, Imatrix, merge, read_imatrix, write_imatrix
from edgellm.errors import BadInput

RANDOM = np.random.default_rng(0)
METADATA = ("datasets", "chunk_count", "chunk_size")


def entry(matrices: int, inputs: int, counts: list[float]) -> Entry:
    return Entry(RANDOM.random((matrices, inputs), np.float32) * 100, np.array(counts, np.float32))


@pytest.fixture
def imatrix() -> Imatrix:
    entries = {"blk.0.ffn_up_exps.weight": entry(3, 8, [5, 0, 7]), "blk.0.attn_q.weight": entry(1, 4, [12])}
    return Imatrix(entries, chunk_count=2, chunk_tokens=512, datasets=("日本語.txt", "code.txt"))


def write_raw(path: Path, tensors: Mapping[str, np.ndarray], metadata: tuple[str, ...] = METADATA) -> Path:
    """A file as newer tools may write it, with whatever tensors."""
    writer = gguf.GGUFWriter(path, "")
    values = {"datasets": ["a.txt"], "chunk_count": 3, "chunk_size": 128}
    for key in metadata:
        if key == "datasets":
            writer.add_array("imatrix.datasets", values[key])
        else:
            writer.add_uint32(f"imatrix.{key}", values[key])
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pair(weight: str) -> dict[str, np.ndarray]:
    return {f"{weight}.in_sum2": np.ones((1, 4), np.float32), f"{weight}.counts": np.ones((1, 1), np.float32)}


def test_a_written_matrix_reads_back_to_the_last_bit(tmp_path: Path, imatrix: Imatrix) -> None:
    write_imatrix(tmp_path / "x.gguf", imatrix)
    read = read_imatrix(tmp_path / "x.gguf")
    assert read.entries.keys() == imatrix.entries.keys()
    for name, want in imatrix.entries.items():
        np.testing.assert_array_equal(read.entries[name].in_sum2, want.in_sum2)
        np.testing.assert_array_equal(read.entries[name].counts, want.counts)
    assert (read.chunk_count, read.chunk_tokens, read.datasets) == (2, 512, ("日本語.txt", "code.txt"))
    assert read.file_name == "x.gguf"


def test_the_file_has_llama_cpps_layout(tmp_path: Path, imatrix: Imatrix) -> None:
    write_imatrix(tmp_path / "x.gguf", imatrix)
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    assert reader.fields["general.type"].contents() == "imatrix"
    assert "general.architecture" not in reader.fields
    assert [(t.name, t.shape.tolist()) for t in reader.tensors] == [
        ("blk.0.attn_q.weight.in_sum2", [4, 1]), ("blk.0.attn_q.weight.counts", [1, 1]),
        ("blk.0.ffn_up_exps.weight.in_sum2", [8, 3]), ("blk.0.ffn_up_exps.weight.counts", [1, 3]),
    ]  # fmt: skip


def test_the_names_of_datasets_can_be_given_when_writing(tmp_path: Path, imatrix: Imatrix) -> None:
    write_imatrix(tmp_path / "x.gguf", imatrix, datasets=["shipped"])
    assert read_imatrix(tmp_path / "x.gguf").datasets == ("shipped",)


def test_a_matrix_without_dataset_names_still_has_the_key_that_llama_quantize_wants(
    tmp_path: Path, imatrix: Imatrix
) -> None:
    write_imatrix(tmp_path / "x.gguf", imatrix, datasets=[])
    assert "imatrix.datasets" in gguf.GGUFReader(tmp_path / "x.gguf").fields
    assert read_imatrix(tmp_path / "x.gguf").datasets == ()


def test_values_are_sums_over_counts_and_ones_where_nothing_was_seen() -> None:
    sums = np.array([[2, 4], [3, 9], [6, 8]], np.float32)
    values = Entry(sums, np.array([2, 0, 4], np.float32)).values()
    np.testing.assert_array_equal(values, np.array([[1, 2], [1, 1], [1.5, 2]], np.float32))
    assert values.dtype == np.float32


def test_counts_are_rounded_to_whole_numbers_first() -> None:
    values = Entry(np.array([[6.0], [6.0]], np.float32), np.array([2.9999, 0.2], np.float32)).values()
    np.testing.assert_array_equal(values, np.array([[2.0], [1.0]], np.float32))


def test_further_tensors_of_newer_tools_are_skipped(tmp_path: Path) -> None:
    more = {"w.weight.in_sum": np.ones((1, 4), np.float32), "w.weight.stats": np.ones(12, np.float32)}
    path = write_raw(tmp_path / "x.gguf", pair("w.weight") | more)
    assert list(read_imatrix(path).entries) == ["w.weight"]


@pytest.mark.parametrize("lost", [".in_sum2", ".counts"])
def test_sums_without_counts_and_counts_without_sums_are_refused(tmp_path: Path, lost: str) -> None:
    tensors = pair("w.weight")
    del tensors[f"w.weight{lost}"]
    with pytest.raises(BadInput, match=r"both in_sum2 and counts as F32 for w\.weight"):
        read_imatrix(write_raw(tmp_path / "x.gguf", tensors))


def test_another_number_type_than_f32_is_refused(tmp_path: Path) -> None:
    tensors = pair("w.weight") | {"w.weight.in_sum2": np.ones((1, 4), np.float16)}
    with pytest.raises(BadInput, match="as F32"):
        read_imatrix(write_raw(tmp_path / "x.gguf", tensors))


def test_sums_that_do_not_divide_among_the_counts_are_refused(tmp_path: Path) -> None:
    tensors = pair("w.weight") | {"w.weight.counts": np.ones((3, 1), np.float32)}
    with pytest.raises(BadInput, match="4 sums for 3 matrices"):
        read_imatrix(write_raw(tmp_path / "x.gguf", tensors))


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    tensors = pair("w.weight") | {"w.weight.in_sum2": np.array([[1, np.nan, 1, 1]], np.float32)}
    with pytest.raises(BadInput, match="not finite"):
        read_imatrix(write_raw(tmp_path / "x.gguf", tensors))


@pytest.mark.parametrize("lost", METADATA)
def test_a_gguf_without_the_metadata_is_no_importance_matrix(tmp_path: Path, lost: str) -> None:
    kept = tuple(key for key in METADATA if key != lost)
    with pytest.raises(BadInput, match=f"lacks imatrix.{lost}"):
        read_imatrix(write_raw(tmp_path / "x.gguf", pair("w.weight"), kept))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.dat").write_bytes(b"\x02\x00\x00\x00" + bytes(100))
    with pytest.raises(BadInput, match="not a GGUF importance matrix"):
        read_imatrix(tmp_path / "old.dat")
    with pytest.raises(BadInput, match="not a GGUF importance matrix"):
        read_imatrix(tmp_path / "absent.gguf")


def test_merging_adds_sums_counts_and_chunks() -> None:
    a = Imatrix({"x": entry(2, 3, [1, 2]), "y": entry(1, 3, [5])}, 2, 512, ("a",))
    b = Imatrix({"x": entry(2, 3, [4, 0]), "z": entry(1, 3, [7])}, 3, 512, ("b",))
    both = merge(a, b)
    np.testing.assert_array_equal(both.entries["x"].in_sum2, a.entries["x"].in_sum2 + b.entries["x"].in_sum2)
    assert both.entries["x"].counts.tolist() == [5, 2]
    assert both.entries["y"] is a.entries["y"]
    assert both.entries["z"] is b.entries["z"]
    assert (both.chunk_count, both.datasets) == (5, ("a", "b"))


def test_merging_matrices_of_different_models_or_chunk_lengths_is_refused() -> None:
    a = Imatrix({"x": entry(1, 3, [1])}, 1, 512)
    with pytest.raises(BadInput, match="disagree on the shape of x"):
        merge(a, Imatrix({"x": entry(1, 4, [1])}, 1, 512))
    with pytest.raises(BadInput, match="chunks of 512 and 256"):
        merge(a, Imatrix({"x": entry(1, 3, [1])}, 1, 256))


def test_a_weight_name_that_ggml_would_cut_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    name = "blk.0." + "x" * 60
    with pytest.raises(BadInput, match="too long"):
        write_imatrix(tmp_path / "x.gguf", Imatrix({name: entry(1, 3, [1])}, 1, 512))
    assert list(tmp_path.iterdir()) == []
