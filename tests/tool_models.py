"""tiny-ja with a chat template that shows tools to the model: its own knows none, though it has Harmony's marks."""

from __future__ import annotations

import shutil
from pathlib import Path

from tiny_checkpoints import TINY_JA

TEMPLATE = """\
{{- bos_token -}}
{%- if tools %}<|start|>developer<|message|># Tools
{% for tool in tools %}{{ tool.function | tojson }}
{% endfor %}<|end|>{% endif -%}
{%- for message in messages -%}
{%- if message.role == "tool" -%}
<|start|>tool<|message|>{{ message.content }}<|end|>
{%- elif message.tool_calls -%}
{%- for call in message.tool_calls -%}
<|start|>assistant<|channel|>commentary to=functions.{{ call.function.name }}<|constrain|>json<|message|>
{{- call.function.arguments | tojson }}<|call|>
{%- endfor -%}
{%- elif message.role == "assistant" -%}
<|start|>assistant<|channel|>final<|message|>{{ message.content }}<|end|>
{%- else -%}
<|start|>{{ message.role }}<|message|>{{ message.content }}<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}<|start|>assistant{% endif -%}
"""


def tool_model(folder: Path) -> Path:
    shutil.copytree(TINY_JA, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder
