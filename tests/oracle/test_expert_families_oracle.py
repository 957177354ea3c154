"""gpt-oss and DeepSeek-V3, packed, in FP8 and plain, against llama.cpp's own script, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from byte_level_bpe import byte_level_bpe
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from oracles import oracle
from reference_conversion import differences, run_reference
from reference_logits import with_fault
from tiny_checkpoints import TOKENIZER_FILES
from tiny_deepseek import random_deepseek, to_fp8
from tiny_gpt_oss import random_gpt_oss, unpack

pytestmark = pytest.mark.oracle

# The script leaves the pattern of sliding layers to llama.cpp's default, which is every other layer.
OURS_ALONE = {"gpt-oss.attention.sliding_window_pattern"}


def with_byte_level_bpe(checkpoint: Path) -> Path:
    """The script writes byte-level BPE for these classes whatever the tokenizer is, so it gets one."""
    for file in TOKENIZER_FILES:
        (checkpoint / file).unlink()
    byte_level_bpe(checkpoint, "gpt-4o")
    return checkpoint


def test_files_equal_those_of_llama_cpps_script(tmp_path: Path) -> None:
    deepseek = with_byte_level_bpe(random_deepseek(tmp_path / "deepseek", further_layers=1))
    gpt_oss = with_byte_level_bpe(random_gpt_oss(tmp_path / "gpt-oss"))
    checkpoints = [
        deepseek, with_fault(deepseek, tmp_path / "deepseek-fp8", lambda w, c: to_fp8(w, c) and None),
        gpt_oss, with_fault(gpt_oss, tmp_path / "gpt-oss-plain", unpack),
    ]  # fmt: skip
    jobs = [(each, "F16", tmp_path / f"{each.name}.reference.gguf") for each in checkpoints]
    run_reference(oracle("EDGELLM_ORACLE_CONVERT"), jobs, pre="gpt-4o")
    for checkpoint, type_name, reference in jobs:
        ours = tmp_path / f"{checkpoint.name}.gguf"
        convert(checkpoint, ours, type_name)
        assert len(read_header(ours).tokens) == 8192
        assert set(differences(ours, reference)) <= OURS_ALONE, checkpoint.name
