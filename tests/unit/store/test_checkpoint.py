"""Checkpoint folders: what is read from them, and how damaged ones are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgellm.errors import BadInput
from edgellm.store.checkpoint import open_checkpoint, read_shard
from tiny_checkpoints import TINY_JA, random_llama


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return random_llama(tmp_path / "checkpoint", layers=1, hidden=32, heads=2, kv_heads=1, ffn=32, tied=True)


def split(folder: Path) -> Path:
    """The same checkpoint in two shards with an index."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[:4], "model-00002-of-00002.safetensors": names[4:]}
    for shard, members in shards.items():
        save_file({n: weights[n] for n in members}, folder / shard)
    index = {"weight_map": {n: shard for shard, members in shards.items() for n in members}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return folder


def with_header(file: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    """Rewrite the header of a safetensors file and leave its data."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def test_every_tensor_equals_what_the_safetensors_library_reads(checkpoint: Path) -> None:
    expected = load_file(checkpoint / "model.safetensors")
    found = open_checkpoint(checkpoint).tensors
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name].read(), values)


def test_bf16_becomes_the_float32_that_torch_makes_of_it() -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch_file

    expected = load_torch_file(TINY_JA / "model.safetensors")
    name = "model.layers.3.mlp.down_proj.weight"
    stored = open_checkpoint(TINY_JA).tensors[name]
    assert stored.dtype == "BF16"
    assert stored.read().dtype == np.uint16
    np.testing.assert_array_equal(stored.read_float32(), expected[name].to(torch.float32).numpy())


def test_some_rows_are_those_rows_of_the_whole(checkpoint: Path) -> None:
    stored = open_checkpoint(checkpoint).tensors["model.embed_tokens.weight"]
    np.testing.assert_array_equal(stored.read_float32(slice(100, 107)), stored.read_float32()[100:107])


def test_integers_are_not_taken_for_weights(checkpoint: Path) -> None:
    save_file({"packed": np.arange(6, dtype=np.int32)}, checkpoint / "model.safetensors")
    with pytest.raises(BadInput, match=r"packed .* stored as I32"):
        open_checkpoint(checkpoint).tensors["packed"].read_float32()


def test_a_scalar_and_an_empty_tensor_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "odd.safetensors"
    save_file({"scalar": np.array(2.5, np.float32), "empty": np.zeros((0, 4), np.float32)}, file)
    tensors = read_shard(file)
    assert tensors["scalar"].read_float32() == 2.5
    assert tensors["empty"].read_float32().shape == (0, 4)


def test_shards_hold_the_same_as_one_file(checkpoint: Path) -> None:
    whole = {n: t.read_float32() for n, t in open_checkpoint(checkpoint).tensors.items()}
    found = open_checkpoint(split(checkpoint))
    assert found.parameters == sum(v.size for v in whole.values())
    for name, values in whole.items():
        np.testing.assert_array_equal(found.tensors[name].read_float32(), values)


def test_a_missing_shard_is_named(checkpoint: Path) -> None:
    split(checkpoint)
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadInput, match="lacks the shard model-00002-of-00002"):
        open_checkpoint(checkpoint)


def test_an_index_that_promises_a_tensor_which_no_shard_holds_is_refused(checkpoint: Path) -> None:
    split(checkpoint)
    shutil.copyfile(checkpoint / "model-00001-of-00002.safetensors", checkpoint / "model-00002-of-00002.safetensors")
    with pytest.raises(BadInput, match="does not hold the tensor"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize("place", ["../outside.safetensors", "/etc/hostname", "..", 3])
def test_an_index_cannot_lead_out_of_its_folder(checkpoint: Path, place: object) -> None:
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": place}}))
    with pytest.raises(BadInput, match="no usable weight_map"):
        open_checkpoint(checkpoint)


def test_a_truncated_file_is_refused_with_the_tensor_it_cuts(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(BadInput, match=r"cut short: tensor .* fetch the file again"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x10", b"version https://git-lfs.github.com/spec/v1", b"\xff" * 64, b"\x02" + bytes(7) + b"[]"],
)
def test_a_file_that_is_no_safetensors_file_is_refused(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "model.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match=r"model\.safetensors .*fetch"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "lie",
    [
        {"shape": [32, 10**12]},
        {"shape": [-1, -32]},
        {"shape": "big"},
        {"dtype": "F99"},
        {"dtype": "F16"},
        {"data_offsets": [0]},
        {"data_offsets": [64, 0]},
        {"data_offsets": None},
    ],
)
def test_a_lying_header_is_refused(checkpoint: Path, lie: dict[str, object]) -> None:
    with_header(checkpoint / "model.safetensors", lambda h: h["model.norm.weight"].update(lie))
    with pytest.raises(BadInput, match=r"tensor model\.norm\.weight"):
        open_checkpoint(checkpoint)


def test_tensors_that_overlap_are_refused(checkpoint: Path) -> None:
    def over_another(header: dict[str, dict[str, object]]) -> None:
        begin, end = header["model.norm.weight"]["data_offsets"]  # type: ignore[misc]
        header["model.norm.weight"]["data_offsets"] = [0, end - begin]

    with_header(checkpoint / "model.safetensors", over_another)
    with pytest.raises(BadInput, match=r"begins at byte \d+ where byte \d+ is due"):
        open_checkpoint(checkpoint)


def test_bytes_that_belong_to_no_tensor_are_refused(checkpoint: Path) -> None:
    with open(checkpoint / "model.safetensors", "ab") as f:
        f.write(b"more")
    with pytest.raises(BadInput, match="goes on to byte"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize("content", ["{", "[]", "\ufeff{}x"])
def test_a_damaged_configuration_is_refused(checkpoint: Path, content: str) -> None:
    (checkpoint / "config.json").write_text(content)
    with pytest.raises(BadInput, match=r"config\.json is not a JSON object"):
        open_checkpoint(checkpoint)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no config\.json"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_the_digest_changes_with_every_file_that_decides_the_result(checkpoint: Path, name: str) -> None:
    before = open_checkpoint(checkpoint).digest()
    file = checkpoint / name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1 if name == "model.safetensors" else 0
    file.write_bytes(bytes(data) + (b"" if name == "model.safetensors" else b"\n"))
    assert open_checkpoint(checkpoint).digest() != before


def test_the_digest_does_not_depend_on_the_place(checkpoint: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(checkpoint, elsewhere)
    assert open_checkpoint(elsewhere).digest() == open_checkpoint(checkpoint).digest()
