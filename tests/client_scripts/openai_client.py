"""What the official client makes of a server's answers: python openai_client.py URL MODEL, one JSON document out."""

import json
import sys

from openai import OpenAI

from questions import MESSAGES, SCHEMA, TOOL

url, model = sys.argv[1:]
client = OpenAI(base_url=f"{url}/v1", api_key="none")
asked = {"model": model, "messages": MESSAGES, "max_tokens": 300, "temperature": 0, "seed": 1}

whole = client.chat.completions.create(**asked)
parts = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
called = client.chat.completions.create(**asked, tools=[{"type": "function", "function": TOOL}], tool_choice="required")
shaped = client.chat.completions.create(
    **asked,
    response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
)
call = called.choices[0].message.tool_calls[0]
print(
    json.dumps(
        {
            "chat": whole.choices[0].message.content,
            "stream": "".join(part.choices[0].delta.content or "" for part in parts if part.choices),
            "tool": call.function.name,
            "arguments": json.loads(call.function.arguments),
            "schema": json.loads(shaped.choices[0].message.content),
            "usage": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
            "stream_usage": [parts[-1].usage.prompt_tokens, parts[-1].usage.completion_tokens],
        }
    )
)
