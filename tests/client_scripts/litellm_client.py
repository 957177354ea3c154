"""What LiteLLM makes of a server's answers: python litellm_client.py URL MODEL."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it would fetch a price list

import litellm

from openai_shapes import SHAPED, STREAMED, TOOLS, show
from questions import MESSAGES

url, model = sys.argv[1:]
asked = {
    "model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "none", "messages": MESSAGES, "max_tokens": 300,
    "temperature": 0, "seed": 1,
}  # fmt: skip
show(
    litellm.completion(**asked),
    list(litellm.completion(**asked, **STREAMED)),
    litellm.completion(**asked, **TOOLS),
    litellm.completion(**asked, **SHAPED),
)
