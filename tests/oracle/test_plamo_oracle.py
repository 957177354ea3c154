"""PLaMo against llama.cpp's own script: the same tensors byte for byte, and metadata that differ for a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import RUN_LENGTHS, Header, read_header
from reference_conversion import differences, run_reference
from tiny_plamo import random_plamo2, random_plamo3

pytestmark = pytest.mark.oracle

TEMPLATE = {"chat_template": "{% for m in messages %}<|plamo:op|>{{ m.content }}{% endfor %}"}
# What may differ, and why.
VOCABULARY = {
    "tokenizer.ggml.tokens",  # rows without a token are called [PAD<id>], as in every file of ours
    "tokenizer.ggml.scores",  # rounded to what they count as; rows without a token can come out of no text
    "tokenizer.ggml.add_bos_token",  # stated, as tokenizer_config.json does
}
ALLOWED = {
    "plamo2": VOCABULARY
    | {
        "plamo2.attention.head_count",  # the true number in every layer: zeros make llama.cpp hang
        "plamo2.context_length",  # up to which the engine computes what the checkpoint defines
        "tokenizer.chat_template",  # which the script leaves out for this class
    },
    # A key of our own: from which lengths on runs are cut out of a text.
    "plamo3": VOCABULARY | set(RUN_LENGTHS),
}


TYPES = ("F16", "BF16")


@pytest.fixture(scope="module")
def files(oracle_convert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with NAME-TYPE.gguf of ours and NAME-TYPE-reference.gguf of the script's."""
    folder = tmp_path_factory.mktemp("files")
    checkpoints = {
        "plamo2": random_plamo2(folder / "plamo2", mamba_heads=8, head_dim=32, tokenizer=TEMPLATE),
        "plamo3": random_plamo3(folder / "plamo3", tokenizer=TEMPLATE),
    }
    jobs = [(c, t, folder / f"{name}-{t}-reference.gguf") for name, c in checkpoints.items() for t in TYPES]
    run_reference(oracle_convert, jobs)
    for name, checkpoint in checkpoints.items():
        for type_name in TYPES:
            convert(checkpoint, folder / f"{name}-{type_name}.gguf", type_name)
    return folder


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize("name", ALLOWED)
def test_tensors_equal_the_scripts_byte_for_byte(name: str, type_name: str, files: Path) -> None:
    found = differences(files / f"{name}-{type_name}.gguf", files / f"{name}-{type_name}-reference.gguf")
    assert set(found) == ALLOWED[name]


@pytest.mark.parametrize("name", ALLOWED)
def test_where_the_vocabulary_differs_it_means_the_same(name: str, files: Path) -> None:
    ours, reference = (read_header(files / f"{name}-F16{end}.gguf") for end in ("", "-reference"))
    known = tokens_of(reference)
    assert ours.tokens[:known] == reference.tokens[:known]
    assert ours.tokens[known:] == [f"[PAD{i}]" for i in range(known, len(ours.tokens))]
    rounded, true = (np.asarray(h.scores[:known]) for h in (ours, reference))
    assert abs(rounded - true).max() < 0.51e-4


def tokens_of(header: Header) -> int:
    """How many rows stand for a token in a file of the script's."""
    return header.tokens.index("[PAD1]")
