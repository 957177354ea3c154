"""Tensors whose rows do not fit get a named type of at least the bits that the mixture meant for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.fitting_rules import rules_for_misfits
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.quantize import quantize
from edgellm.engines.gguf.types import TENSOR_TYPES
from edgellm.errors import UsageError
from tiny_checkpoints import random_llama


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ffn_down` has rows of 320, which only blocks of 32 and 64 fit."""
    folder = tmp_path_factory.mktemp("base")
    convert(random_llama(folder / "checkpoint", layers=3, ffn=320, vocab=8192), folder / "base.gguf", "F32")
    return folder / "base.gguf"


def types_in(path: Path, role: str) -> list[str]:
    return [t.type for t in read_header(path).tensors if role in t.name]


@pytest.mark.parametrize(
    ("type_name", "given"),
    [("Q2_K", {"IQ4_NL"}), ("Q5_K_M", {"Q5_0", "Q8_0"})],
)
def test_the_rules_make_a_file_without_a_fallback(base: Path, tmp_path: Path, type_name: str, given: set[str]) -> None:
    with pytest.raises(UsageError, match="do not fit rows of 320"):
        quantize(base, tmp_path / "stock.gguf", type_name)
    rules = rules_for_misfits(base, type_name, {})
    report = quantize(base, tmp_path / "ours.gguf", type_name, tensor_types=rules)
    assert set(types_in(tmp_path / "ours.gguf", "ffn_down")) == given
    assert not [t for t in report.tensors if t.requested != t.got]


def test_one_rule_stands_for_a_role_of_one_type(base: Path) -> None:
    assert rules_for_misfits(base, "Q6_K", {}) == {r"\bffn_down\.weight$": "Q8_0"}
    assert set(rules_for_misfits(base, "Q4_K_M", {})) == {rf"^blk\.{i}\.ffn_down\.weight$" for i in range(3)}


def test_bits_never_fall_from_a_type_to_the_next(base: Path, tmp_path: Path) -> None:
    bits = []
    for name in ("Q2_K", "Q4_K_M", "Q6_K"):
        quantize(base, tmp_path / f"{name}.gguf", name, tensor_types=rules_for_misfits(base, name, {}))
        bits.append([TENSOR_TYPES[t].bits_per_weight for t in types_in(tmp_path / f"{name}.gguf", "ffn_down")])
    for layer in zip(*bits, strict=True):
        assert list(layer) == sorted(layer)


def test_what_fits_or_was_named_gets_no_rule(base: Path) -> None:
    assert rules_for_misfits(base, "Q8_0", {}) == {}
    assert rules_for_misfits(base, "Q4_K_M", {"ffn_down": "Q5_1"}) == {}
