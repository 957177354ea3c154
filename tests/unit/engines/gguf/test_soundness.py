"""What makes llama.cpp end the process is found in the header first; the file itself proves that it would have."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgellm.engines.gguf.header import Header, read_header
from edgellm.engines.gguf.soundness import check_model_file, unknown_architecture
from edgellm.errors import BadInput, EdgellmError, UsageError
from tiny_gguf import common_metadata, dense_gguf, expert_metadata, experts_gguf, write_gguf


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Header:
    return read_header(experts_gguf(tmp_path_factory.mktemp("sound") / "experts.gguf", hidden=64, width=32))


def changed(header: Header, **values: object) -> Header:
    return replace(header, metadata={**header.metadata, **values})


def test_models_as_they_should_be_pass(experts: Header, tmp_path: Path) -> None:
    check_model_file(experts)
    check_model_file(changed(experts, **{"qwen3moe.expert_used_count": np.array([2, 1], np.uint32)}))
    check_model_file(read_header(dense_gguf(tmp_path / "dense.gguf")))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("qwen3moe.block_count", 0),
        ("qwen3moe.block_count", 513),
        ("qwen3moe.context_length", 0),
        ("qwen3moe.attention.layer_norm_rms_epsilon", -1.0),
        ("qwen3moe.attention.layer_norm_rms_epsilon", float("nan")),
        ("qwen3moe.expert_count", 1025),
        ("qwen3moe.expert_count", 1),
        ("qwen3moe.expert_count", 0),
        ("qwen3moe.expert_used_count", 0),
        ("qwen3moe.expert_used_count", 9),
        ("qwen3moe.expert_used_count", np.array([2, 9], np.uint32)),
        ("qwen3moe.rope.scaling.type", "magic"),
    ],
)
def test_a_number_that_llama_cpp_dies_of_is_refused_by_its_key(experts: Header, key: str, value: object) -> None:
    part = "expert_" if "expert" in key else key
    with pytest.raises(BadInput, match=part):
        check_model_file(changed(experts, **{key: value}))


def test_a_file_that_is_no_model_is_refused_as_what_it_is(experts: Header) -> None:
    with pytest.raises(UsageError, match="of the kind adapter"):
        check_model_file(changed(experts, **{"general.type": "adapter"}))
    with pytest.raises(BadInput, match="holds no weights"):
        check_model_file(replace(experts, tensors=()))


def test_tokens_alike_are_refused(experts: Header) -> None:
    with pytest.raises(BadInput, match="several ids to 'b'"):
        check_model_file(changed(experts, **{"tokenizer.ggml.tokens": ["a", "b", "b"]}))


LOAD = """
import ctypes, sys, llama_cpp
from edgellm.engines.gguf import library
library.start()
sys.exit(not llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params()))
"""


@pytest.mark.parametrize("key", ["block_count", "expert_used_count"])
def test_llama_cpp_itself_would_have_ended_the_process(key: str, tmp_path: Path) -> None:
    """Should a newer one refuse such a file with a message, its check here can go."""
    weights = {"token_embd.weight": np.zeros((32, 64), np.float16)}
    metadata = common_metadata(1, 64, 32) | expert_metadata(32) | {key: 1000}
    path = write_gguf(tmp_path / "lethal.gguf", "qwen3moe", metadata, weights)
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, check=False, timeout=60)
    assert done.returncode < 0
    with pytest.raises(EdgellmError, match=key):
        check_model_file(read_header(path))


def test_an_architecture_unknown_to_llama_cpp_is_named_with_known_ones(tmp_path: Path) -> None:
    near = unknown_architecture(tmp_path / "x.gguf", "unknown model architecture: 'lama'")
    assert near is not None
    assert "'lama'" in str(near)
    assert "near are llama" in str(near)
    far = unknown_architecture(tmp_path / "x.gguf", "unknown model architecture: '?'")
    assert far is not None
    assert "known are" in str(far)
    assert "qwen3moe" in str(far)
    assert unknown_architecture(tmp_path / "x.gguf", "tensor not found") is None
