"""Models in several files: ours are joined by llama-gguf-split, its files are read by us, and a wrong set is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import gguf
import pytest

from edgellm.engines.gguf import loading
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.gguf.split import split
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput, EdgellmError, UsageError
from tiny_gguf import dense_gguf

MAX_BYTES = 600_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("whole") / "dense.gguf", layers=2)


@pytest.fixture(scope="module")
def parts(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return split(whole, tmp_path_factory.mktemp("parts"), "dense", MAX_BYTES)


def tensors(*paths: Path) -> dict[str, tuple[str, list[int], bytes]]:
    readers = [gguf.GGUFReader(path) for path in paths]
    return {t.name: (t.tensor_type.name, t.shape.tolist(), t.data.tobytes()) for r in readers for t in r.tensors}


def gguf_split(folder: Path, *words: object) -> None:
    done = subprocess.run(
        [folder / "llama-gguf-split", *map(str, words)], capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"LD_LIBRARY_PATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_part_is_larger_than_asked_and_together_they_hold_every_tensor_once(whole: Path, parts: list[Path]) -> None:
    assert len(parts) > 2
    assert [p.name for p in parts] == [f"dense-{n:05d}-of-{len(parts):05d}.gguf" for n in range(1, len(parts) + 1)]
    assert all(part.stat().st_size <= MAX_BYTES for part in parts)
    assert tensors(*parts) == tensors(whole)


def test_a_split_model_has_the_header_of_the_whole_one(whole: Path, parts: list[Path]) -> None:
    header, joined = read_header(parts[0]), read_header(whole)
    assert {k: v for k, v in header.metadata.items() if not k.startswith("split.")} == joined.metadata
    assert [(t.name, t.type, t.shape) for t in header.tensors] == [(t.name, t.type, t.shape) for t in joined.tensors]
    assert header.files == tuple(parts)
    assert header.size_bytes == sum(part.stat().st_size for part in parts)


def test_llama_cpp_loads_and_quantizes_the_parts_as_it_does_the_whole(
    whole: Path, parts: list[Path], tmp_path: Path
) -> None:
    loading.llama_cpp.llama_model_free(loading.load_model(loading.checked_header(parts[0]), RuntimeOptions()))
    quantize(parts[0], tmp_path / "of-parts.gguf", "Q4_0")
    quantize(whole, tmp_path / "of-whole.gguf", "Q4_0")
    assert (tmp_path / "of-parts.gguf").read_bytes() == (tmp_path / "of-whole.gguf").read_bytes()


@pytest.mark.oracle
def test_llama_gguf_split_joins_our_parts_and_we_read_its(
    oracle_tools: Path, whole: Path, parts: list[Path], tmp_path: Path
) -> None:
    gguf_split(oracle_tools, "--merge", parts[0], tmp_path / "joined.gguf")
    assert tensors(tmp_path / "joined.gguf") == tensors(whole)
    gguf_split(oracle_tools, "--split", "--split-max-tensors", 5, whole, tmp_path / "theirs")
    header = read_header(next(tmp_path.glob("theirs-00001-of-*.gguf")))
    assert len(header.files) > 2
    assert {t.name for t in header.tensors} == tensors(whole).keys()
    assert header.metadata["llama.block_count"] == 2


def copied(parts: list[Path], folder: Path) -> list[Path]:
    return [Path(shutil.copy(part, folder)) for part in parts]


def test_another_part_is_refused_with_the_name_of_the_first(parts: list[Path]) -> None:
    with pytest.raises(UsageError, match=f"part 2 of {len(parts)} .* name its first part, .*{parts[0].name}"):
        read_header(parts[1])


def test_a_missing_part_is_named(parts: list[Path], tmp_path: Path) -> None:
    here = copied(parts, tmp_path)
    here[1].unlink()
    with pytest.raises(BadInput, match=f"{here[1].name} is missing"):
        read_header(here[0])


def test_a_part_under_another_name_and_a_part_of_another_model_are_refused(parts: list[Path], tmp_path: Path) -> None:
    here = copied(parts, tmp_path)
    with pytest.raises(BadInput, match="parts are found by their names: call it NAME-00001-of-"):
        read_header(here[0].rename(tmp_path / "model.gguf"))
    here = copied(parts, tmp_path)
    shutil.copy(here[2], here[1])
    with pytest.raises(BadInput, match=f"{here[1].name} does not say that it is part 2"):
        read_header(here[0])


@pytest.mark.parametrize("number", ["first", -1, 7])
def test_a_part_whose_number_makes_no_sense_is_told(number: str | int, tmp_path: Path) -> None:
    path = tmp_path / "model-00001-of-00003.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    (writer.add_string if isinstance(number, str) else writer.add_int32)("split.no", number)  # type: ignore[operator]
    writer.add_uint16("split.count", 3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(BadInput, match=r"split\.no in .* is .*, no number of a part"):
        read_header(path)


def test_a_limit_below_the_largest_tensor_is_refused_and_leaves_nothing(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgellmError, match=r"of dense\.gguf alone needs a part of .* larger --split-max-size"):
        split(whole, tmp_path, "dense", 10_000)
    assert list(tmp_path.iterdir()) == []


def test_the_source_s_second_part_is_not_written_over(parts: list[Path]) -> None:
    before = parts[1].read_bytes()
    with pytest.raises(UsageError, match="is the source itself"):
        quantize(parts[0], parts[1], "Q8_0")
    assert parts[1].read_bytes() == before
