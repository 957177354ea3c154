from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgellm.records.openai.chat import ChatRequest
from edgellm.records.openai.completion import CompletionRequest

ASK = {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        (ChatRequest, {"messages": [1] * 10_000}),
        (ChatRequest, {"messages": [ASK], "tools": [1] * 10_000}),
        (ChatRequest, {"messages": [ASK], "stop": [1] * 10_000}),
        (ChatRequest, {"messages": [ASK], "logit_bias": {str(n): "x" for n in range(10_000)}}),
        (CompletionRequest, {"prompt": [1] * 10_000 + ["a"]}),
        (CompletionRequest, {"prompt": ["a"] * 10_000 + [1]}),
    ],
)
def test_of_many_faults_in_a_list_only_the_first_is_collected(shape: Any, fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        shape.model_validate(fields)
    assert caught.value.error_count() <= 4  # one for each shape that the field may have
