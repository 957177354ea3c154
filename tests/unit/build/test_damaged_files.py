"""What `show` reads, damaged at random: whatever the bytes, only our own errors come out, and nothing hangs."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgellm.build.inspection import inspect
from edgellm.errors import EdgellmError
from edgellm.store.checkpoint import open_checkpoint
from tiny_checkpoints import random_llama


def small_gguf(path: Path) -> None:
    """A header with every kind of value in it, two tensors, and nothing that would take long to read."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_block_count(1)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *"いろはにほへと▁"])
    writer.add_token_scores([0.0, 0.0, 0.0, *(-1.5 - i for i in range(8))])
    writer.add_token_types([2, 3, 3, *[1] * 8])
    writer.add_bos_token_id(1)
    writer.add_add_bos_token(True)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    writer.add_tensor("token_embd.weight", np.zeros((11, 32), np.float16))
    writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def damaged(data: bytes, within: int, seed: int) -> bytes:
    """Some bytes of the first `within` flipped, overwritten with extreme numbers, taken out, or the end cut off."""
    rng, copy = random.Random(seed), bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(min(within, len(copy)))
        match rng.randrange(4):
            case 0:
                copy[at] ^= 1 << rng.randrange(8)
            case 1:
                copy[at : at + 8] = struct.pack("<Q", rng.choice((0, 1, 1 << 31, 1 << 62, (1 << 64) - 1)))
            case 2:
                del copy[at : at + rng.randrange(1, 40)]
            case 3:
                del copy[max(at, 1) :]
    return bytes(copy)


def refusals(path: Path, within: int, read: Callable[[], object], rounds: int) -> int:
    """How many damaged copies `read` refuses with an error of edgellm's; anything else that it raises goes through."""
    data, refused = path.read_bytes(), 0
    read()
    for seed in range(rounds):
        path.write_bytes(damaged(data, within, seed))
        try:
            read()
        except EdgellmError:
            refused += 1
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r}")
    return refused


def test_no_damage_to_a_gguf_s_header_raises_anything_but_our_errors(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    small_gguf(path)
    assert refusals(path, path.stat().st_size, lambda: inspect(str(path)), rounds=800) > 400


def test_no_damage_to_a_shard_raises_anything_but_our_errors(tmp_path: Path) -> None:
    folder = random_llama(tmp_path / "checkpoint", layers=1, hidden=8, heads=2, kv_heads=1, ffn=8, vocab=16)

    def read() -> None:
        for tensor in open_checkpoint(folder).tensors.values():
            tensor.read_float32()

    assert refusals(folder / "model.safetensors", 1400, read, rounds=800) > 500
