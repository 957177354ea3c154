"""A GGUF of random weights under schemas: what the engine draws, told by the whole way to a client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.local_chat import LocalChat, open_chat
from edgellm.inference.structured import constraint_for
from edgellm.inference.target import resolve

SCHEMA = {
    "type": "object",
    "properties": {"県": {"enum": ["京都", "奈良"]}, "人口": {"type": "integer", "minimum": 0, "maximum": 9999999}},
    "required": ["県", "人口"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def chat(random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalChat]:
    file = tmp_path_factory.mktemp("structured") / "random.gguf"
    convert(random_checkpoint, file, "F16")
    with open_chat(resolve(str(file)), RuntimeOptions(context_tokens=256, sequences=2, threads=1)) as opened:
        yield opened


def test_every_answer_of_a_random_model_is_json_for_its_schema(chat: LocalChat) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "県", "schema": SCHEMA}}
    constraint = constraint_for(chat.tokenizer, None, asked)
    for seed in range(10):
        sampling = SamplingOptions(temperature=1.0, top_p=1.0, seed=seed)
        request = chat.request(chat.text_prompt("奈良県は"), sampling, 100, constraint=constraint)
        reader = chat.text_reader(request, [])
        text = "".join(delta.content for token in chat.scheduler.submit(request) for delta in reader.take(token))
        answer = json.loads(text)
        assert list(answer) == ["県", "人口"]
        assert answer["県"] in text
        assert 0 <= answer["人口"] <= 9999999
