"""What the `llm` tool makes of a server's answers: python llm_client.py URL MODEL.

Its OpenAI-compatible models come from a file in the folder that LLM_USER_PATH names.
"""

import json
import os
import sys
from pathlib import Path

import yaml

from questions import MESSAGES, SCHEMA, TOOL

url, model = sys.argv[1:]
entry = {
    "model_id": "served", "model_name": model, "api_base": f"{url}/v1", "can_stream": True, "supports_schema": True,
    "supports_tools": True,
}  # fmt: skip
Path(os.environ["LLM_USER_PATH"], "extra-openai-models.yaml").write_text(yaml.safe_dump([entry]))

import llm  # noqa: E402  it reads the file when it is imported

served = llm.get_model("served")
question, asked = MESSAGES[0]["content"], {"max_tokens": 300, "temperature": 0, "seed": 1}
tool = llm.Tool(name=TOOL["name"], description=TOOL["description"], input_schema=TOOL["parameters"])


def usage_of(response):
    return [response.usage().input, response.usage().output]


whole = served.prompt(question, stream=False, **asked)
streamed = served.prompt(question, stream=True, **asked)
chunks = list(streamed)
# The tool knows no `tool_choice`: the model is free to call or not, and this one's answers decide.
offered = served.prompt(question, stream=False, tools=[tool], **asked)
offered.text()
shaped = served.prompt(question, stream=False, schema=SCHEMA, **asked)
print(
    json.dumps(
        {
            "chat": whole.text(),
            "stream": "".join(chunks),
            "tools_accepted": all(call.name == TOOL["name"] for call in offered.tool_calls()),
            "schema": json.loads(shaped.text()),
            "usage": usage_of(whole),
            "stream_usage": usage_of(streamed),
        }
    )
)
