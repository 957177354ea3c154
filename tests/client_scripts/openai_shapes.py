"""What a client that gives answers in OpenAI's shapes is asked and gave, as one JSON document."""

import json

from questions import SCHEMA, TOOL

TOOLS = {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"}
SHAPED = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
}  # fmt: skip
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def show(whole, parts, called, shaped):
    call = called.choices[0].message.tool_calls[0]
    usage = [part.usage for part in parts if getattr(part, "usage", None)][-1]
    print(
        json.dumps(
            {
                "chat": whole.choices[0].message.content,
                "stream": "".join(part.choices[0].delta.content or "" for part in parts if part.choices),
                "tool": call.function.name,
                "arguments": json.loads(call.function.arguments),
                "schema": json.loads(shaped.choices[0].message.content),
                "usage": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
                "stream_usage": [usage.prompt_tokens, usage.completion_tokens],
            }
        )
    )
