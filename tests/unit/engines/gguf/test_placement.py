"""How much context and how many layers of a GPU a model is given, from its header and the room that there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import llama_cpp
import pytest

from edgellm.engines.gguf.header import Header, read_header
from edgellm.engines.gguf.loading import GgufOptions, check_options
from edgellm.engines.gguf.placement import GPU_MARGIN_BYTES, Room, cache_bytes_of, compute_bytes, placement_for
from edgellm.engines.memory import left_in_group
from edgellm.errors import UsageError
from tiny_gguf import dense_gguf

PLENTY = 1 << 40


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> Header:
    header = read_header(dense_gguf(tmp_path_factory.mktemp("placement") / "model.gguf"))
    return replace(header, metadata={**header.metadata, f"{header.architecture}.context_length": 8192})


def room_for(header: Header, options: GgufOptions, context: int) -> int:
    return header.weight_bytes + compute_bytes(header, options) + cache_bytes_of(header, options, context)


def test_with_room_the_context_is_what_the_model_declares(header: Header) -> None:
    found = placement_for(header, GgufOptions(), Room(PLENTY))
    assert found.context_tokens == 4096
    assert "does not suffice" not in found.words
    assert "1 × 4096 tokens of context, f16 KV cache" in found.words


def test_where_memory_does_not_suffice_the_context_is_shorter_and_that_is_said(header: Header) -> None:
    options = GgufOptions(sequences=4)
    found = placement_for(header, options, Room(room_for(header, options, 768)))
    assert found.context_tokens == 768
    assert "4 × 768 tokens of context (memory does not suffice for 4096)" in found.words


def test_a_context_that_was_asked_for_is_left_alone(header: Header) -> None:
    assert placement_for(header, GgufOptions(context_tokens=700), Room(0)).context_tokens == 700


def test_a_gpu_with_room_takes_every_layer_and_the_output(header: Header) -> None:
    found = placement_for(header, GgufOptions(), Room(PLENTY, PLENTY))
    layers = header.of_architecture("block_count")
    assert layers is not None
    assert found.gpu_layers == layers + 1
    assert f"{layers + 1} of {layers + 1} layers on the GPU" in found.words


def test_a_gpu_takes_the_last_layers_that_fit(header: Header) -> None:
    options = GgufOptions(context_tokens=512)
    full = GPU_MARGIN_BYTES + room_for(header, options, 512)
    counts = [placement_for(header, options, Room(PLENTY, size)).gpu_layers for size in (full, full - 1, 0)]
    layers = (header.of_architecture("block_count") or 0) + 1
    assert counts == [layers, layers - 1, 0]


def test_layers_that_were_asked_for_are_taken_at_most_as_many_as_there_are(header: Header) -> None:
    assert placement_for(header, GgufOptions(gpu_layers=1), Room(PLENTY)).gpu_layers == 1
    most = placement_for(header, GgufOptions(gpu_layers=2**31 - 1), Room(PLENTY)).gpu_layers
    assert most == (header.of_architecture("block_count") or 0) + 1


@pytest.mark.skipif(llama_cpp.llama_supports_gpu_offload(), reason="this build of llama.cpp has a GPU")
def test_layers_for_a_gpu_that_the_build_does_not_know_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="--gpu-layers"):
        check_options(GgufOptions(gpu_layers=1))
    check_options(GgufOptions(gpu_layers=0, cpu_moe=True))


def test_a_container_has_what_its_limit_leaves_and_files_that_are_merely_cached(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\nfile 300\nshmem 100\nactive_file 50\ninactive_file 150\n")
    assert left_in_group(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert left_in_group(tmp_path) > 1 << 50
    assert left_in_group(tmp_path / "none") > 1 << 50
