"""What LiteLLM makes of a server's answers: python litellm_client.py URL MODEL."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it would fetch a price list

import litellm

from questions import MESSAGES, SCHEMA, TOOL

url, model = sys.argv[1:]
asked = {
    "model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none", "messages": MESSAGES, "max_tokens": 300,
    "temperature": 0, "seed": 1,
}  # fmt: skip
whole = litellm.completion(**asked)
parts = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
called = litellm.completion(**asked, tools=[{"type": "function", "function": TOOL}], tool_choice="required")
shaped = litellm.completion(
    **asked,
    response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
)
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
