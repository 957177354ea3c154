"""What LangChain's ChatOpenAI makes of a server's answers: python langchain_client.py URL MODEL."""

import json
import sys

from langchain_openai import ChatOpenAI

from questions import MESSAGES, SCHEMA, TOOL

url, model = sys.argv[1:]
chat = ChatOpenAI(
    base_url=f"{url}/v1", api_key="none", model=model, max_tokens=300, temperature=0, seed=1, stream_usage=True
)
whole = chat.invoke(MESSAGES)
parts = None
for part in chat.stream(MESSAGES):
    parts = part if parts is None else parts + part
called = chat.bind_tools([TOOL], tool_choice="any").invoke(MESSAGES)
shaped = chat.with_structured_output(SCHEMA, method="json_schema").invoke(MESSAGES)
print(
    json.dumps(
        {
            "chat": whole.content,
            "stream": parts.content,
            "tool": called.tool_calls[0]["name"],
            "arguments": called.tool_calls[0]["args"],
            "schema": shaped,
            "usage": [whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]],
            "stream_usage": [parts.usage_metadata["input_tokens"], parts.usage_metadata["output_tokens"]],
        }
    )
)
