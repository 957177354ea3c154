"""What the official client makes of a server's answers: python openai_client.py URL MODEL, one JSON document out."""

import sys

from openai import OpenAI

from openai_shapes import SHAPED, STREAMED, TOOLS, show
from questions import MESSAGES

url, model = sys.argv[1:]
client = OpenAI(base_url=f"{url}/v1", api_key="none")
asked = {"model": model, "messages": MESSAGES, "max_tokens": 300, "temperature": 0, "seed": 1}

show(
    client.chat.completions.create(**asked),
    list(client.chat.completions.create(**asked, **STREAMED)),
    client.chat.completions.create(**asked, **TOOLS),
    client.chat.completions.create(**asked, **SHAPED),
)
