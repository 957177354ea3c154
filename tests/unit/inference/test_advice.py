from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgellm.errors import BadInput
from edgellm.inference.advice import from_generation_config
from edgellm.inference.chat import SamplingOptions


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, SamplingOptions()),
        ({"temperature": 0.3, "top_k": 20}, SamplingOptions(temperature=0.3, top_k=20)),
        ({"do_sample": False, "temperature": None}, SamplingOptions(temperature=0.0)),
        ({"do_sample": True, "top_p": 1, "min_p": 0.1}, SamplingOptions(top_p=1.0, min_p=0.1)),
    ],
)
def test_what_the_makers_advise_replaces_the_defaults(
    tmp_path: Path, config: dict[str, object], wanted: SamplingOptions
) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(config))
    assert from_generation_config(path) == wanted


def test_without_advice_the_defaults_hold(tmp_path: Path) -> None:
    assert from_generation_config(tmp_path / "generation_config.json") == SamplingOptions(0.7, 0.9)


@pytest.mark.parametrize("text", ["{", "[]", '{"temperature": "hot"}', '{"top_k": [1]}'])
def test_damaged_advice_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text(text)
    with pytest.raises(BadInput):
        from_generation_config(path)
