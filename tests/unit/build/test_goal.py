"""Sizes as people write them, and what memory leaves for a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgellm.build.goal import Goal, parse_size
from edgellm.build.order import Order, recipe_for, settle
from edgellm.engines.gguf.cache_size import cache_bytes
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import Header, read_header
from edgellm.errors import UsageError
from edgellm.inference.target import resolve
from edgellm.store.catalogue import load_device


@pytest.fixture(scope="module")
def header(tiny_ja: Path, tmp_path_factory: pytest.TempPathFactory) -> Header:
    path = tmp_path_factory.mktemp("goal") / "tiny-ja.gguf"
    convert(tiny_ja, path, "F16")
    return read_header(path)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("18.3GB", 18_300_000_000), ("17GiB", 17 << 30), ("1.1 kb", 1100), ("512", 512), ("0.5MiB", 1 << 19),
        ("4.35gb", 4_350_000_000),
    ],
)  # fmt: skip
def test_a_size_is_decimal_or_binary_or_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-3GB", "3 apples", "0", "1,5GB", "3GBs", "inf"])
def test_what_is_no_size_is_told_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"write for example 18\.3GB"):
        parse_size(text)


def test_the_cache_takes_what_its_shape_says(header: Header) -> None:
    # 6 layers, 2 heads of 64 numbers in 16 bits, for K and for V
    assert cache_bytes(header, 1024) == 6 * 2 * 64 * 2 * 2 * 1024
    assert cache_bytes(header, 1000, sequences=3) == 3 * cache_bytes(header, 1024)


def test_a_file_that_does_not_say_how_many_heads_of_keys_has_as_many_as_heads(header: Header) -> None:
    key = "llama.attention.head_count_kv"
    silent = replace(header, metadata={k: v for k, v in header.metadata.items() if k != key})
    stated = header.of_architecture("attention.head_count")
    assert stated != header.metadata[key]
    told = replace(header, metadata={**silent.metadata, key: stated})
    assert cache_bytes(silent, 1024) == cache_bytes(told, 1024) > 0


def test_weights_cache_and_a_tenth_more_fit_a_device(header: Header) -> None:
    device = load_device("phone-8gb")
    most = Goal(device=device, context_tokens=1024).most_bytes(header.path, header.parameters, 0)
    assert (most + cache_bytes(header, 1024)) * 1.1 <= device.usable_bytes < (most + cache_bytes(header, 1024)) * 1.1001


def test_bits_per_weight_are_of_tensors_alone(header: Header) -> None:
    most = Goal(bits_per_weight=4.5).most_bytes(header.path, header.parameters, 1000)
    assert most == int(4.5 * header.parameters / 8) + 1000


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"type": "Q4_K_M", "target_size": "4MB"}, "--type and --target-size"),
        ({"target_bpw": 4.5, "fit": "phone-8gb"}, "--target-bpw and --fit"),
    ],
)
def test_types_are_decided_by_one_option(asked: dict[str, object], words: str, tmp_path: Path) -> None:
    target = resolve("tiny-ja")
    with pytest.raises(UsageError, match=words):
        settle(Order("tiny-ja", tmp_path, **asked), recipe_for(target))  # type: ignore[arg-type]


def test_bits_that_are_no_bits_and_unknown_devices_are_refused(tmp_path: Path) -> None:
    recipe = recipe_for(resolve("tiny-ja"))
    with pytest.raises(UsageError, match="no number of bits"):
        settle(Order("tiny-ja", tmp_path, target_bpw=-1.0), recipe)
    with pytest.raises(UsageError, match="no device 'toaster'"):
        settle(Order("tiny-ja", tmp_path, fit="toaster"), recipe)
