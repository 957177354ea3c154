"""The reply parser against llama-server's, on the very ids that its parser gets to see.

The server is given a model that says what a script says: a GPT-2 whose attention and feed-forward weights are zero,
so that only the position decides, and whose row for a position is the output row of the token to be said there.
One file holds all cases; a request reaches its case by a prompt that ends where the case begins.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import pytest

from edgellm.language.harmony import Content, Ended, HarmonyParser, Reasoning, ToolArguments, ToolCall
from edgellm.language.tokenizer import Part, Tokenizer, load_tokenizer
from tiny_checkpoints import TINY_JA

pytestmark = pytest.mark.oracle
WIDTH, POSITIONS, FIRST = 128, 2048, 64
# The first line is what makes the server take its parser for LLM-jp-4.1.
TEMPLATE = """{#- chat_format=llm-jp-harmony-v1 -#}
{%- for message in messages -%}<|start|>{{ message.role }}<|message|>{{ message.content }}<|end|>{%- endfor -%}
{%- if add_generation_prompt %}<|start|>assistant{% endif -%}"""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "天気を調べる",
            "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
        },
    }
]
S, F, C = "<|start|>assistant", "<|channel|>final<|message|>", "<|channel|>commentary<|message|>"
A = "<|channel|>analysis<|message|>考える。<|end|>"
KYOTO, NARA = '{"town": "京都"}', '{"town": "奈良"}'
CHANNEL = "<|channel|>commentary to=functions.weather<|constrain|>json<|message|>"
ROLE = " to=functions.weather<|channel|>commentary <|constrain|>json<|message|>"

SAME = {
    "reasoning, final": f"{A}{S}{F}答え\nだ。<|return|>",
    "final alone": f"{F}はい。<|return|>",
    "white space kept": f"{F} 空白\n\n 後 <|return|>",
    "reasoning with newlines": f"<|channel|>analysis<|message|>考\n\n える。\n<|end|>{S}{F}答え<|return|>",
    "reasoning twice": f"{A}{S}{A}{S}{F}はい<|return|>",
    "call, beside the channel": f"{A}{S}{CHANNEL}{KYOTO}<|call|>",
    "call, beside the role": f"{A}{S}{ROLE}{KYOTO}<|call|>",
    "call, type as a word": f"{A}{S} to=functions.weather<|channel|>commentary json<|message|>{KYOTO}<|call|>",
    "call in the analysis channel": f"{A}{S}{ROLE.replace('commentary', 'analysis')}{KYOTO}<|call|>",
    "call at once": f"{CHANNEL}{KYOTO}<|call|>",
    "two calls, beside the channel": f"{A}{S}{CHANNEL}{KYOTO}<|end|>{S}{CHANNEL}{NARA}<|call|>",
    "two calls, beside the role": f"{A}{S}{ROLE}{KYOTO}<|end|>{S}{ROLE}{NARA}<|call|>",
    "preamble, call": f"{A}{S}{C}調べます。<|end|>{S}{ROLE}{KYOTO}<|call|>",
    "cut in the content": f"{A}{S}{F}途中",
    "cut in the reasoning": "<|channel|>analysis<|message|>途中",
}
# What the dialect's own template allows, or a model leaves out by mistake, has to degrade to text. Where their parser
# drops text or answers with an error 500, ours keeps it.
OURS_KEEPS = {
    "text without a header": ("こんにちは<|return|>", "no header: an error there, content here"),
    "no start mark": (f"{A}assistant{F}はい<|return|>", "a mark left out: an error there, read as meant here"),
    "constrained final": (
        f"{A}{S}<|channel|>final <|constrain|>json<|message|>{{}}<|return|>",
        "JSON that no request asked for: an error there, content here",
    ),
    "reasoning after final": (f"{F}はい<|end|>{S}{A}<|return|>", "their grammar ends with final and drops the rest"),
    "final after a call": (
        f"{A}{S}{CHANNEL}{KYOTO}<|end|>{S}{F}済み<|return|>", "their grammar allows only calls after a call",
    ),
}  # fmt: skip


class Answer(NamedTuple):
    reasoning: str
    content: str
    calls: list[tuple[str, str]]
    reason: str


@pytest.fixture(scope="module")
def tiny() -> Tokenizer:
    return load_tokenizer(TINY_JA)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode_parts([Part(text, True)])


def ours(tokenizer: Tokenizer, ids: list[int]) -> Answer:
    parser = HarmonyParser(tokenizer)
    reasoning, content, reason, names, arguments = "", "", "", list[str](), list[str]()
    for event in [*(e for i in ids for e in parser.feed(i)), *parser.finish()]:
        match event:
            case Reasoning(text):
                reasoning += text
            case Content(text):
                content += text
            case ToolCall(_, name):
                names.append(name)
                arguments.append("")
            case ToolArguments(index, text):
                arguments[index] += text
            case Ended(why):
                reason = why
    return Answer(reasoning, content, list(zip(names, arguments, strict=True)), reason)


class ScriptedServer:
    """llama-server on a scripted model, and where in the script each text begins."""

    def __init__(self, port: int, tokenizer: Tokenizer, texts: list[str]) -> None:
        self.port = port
        self._ids = {text: ids_of(tokenizer, text) for text in texts}
        self._begins = dict(zip(texts, accumulate((len(self._ids[t]) for t in texts), initial=FIRST), strict=False))
        self.script = [i for text in texts for i in self._ids[text]]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, kind)
        with urllib.request.urlopen(request, timeout=60) as reply:
            document: dict[str, Any] = json.load(reply)
        return document

    def answer(self, text: str) -> Answer | None:
        """What the server makes of the answer `text`; None where it fails over it."""
        prompt = self.post("/apply-template", {"messages": [{"role": "user", "content": "x"}]})["prompt"]
        used = len(self.post("/tokenize", {"content": prompt, "add_special": True})["tokens"])
        # A newline is one token, wherever it stands.
        message = {"role": "user", "content": "x" + "\n" * (self._begins[text] - used)}
        try:
            reply = self.post("/v1/chat/completions", {
                "messages": [message], "tools": TOOLS, "parallel_tool_calls": True, "temperature": 0,
                "max_tokens": len(self._ids[text]), "cache_prompt": False,
            })  # fmt: skip
        except urllib.error.HTTPError as error:
            if error.code != 500:
                raise
            return None
        assert reply["usage"]["prompt_tokens"] == self._begins[text]
        choice = reply["choices"][0]
        said = choice["message"]
        calls = [(c["function"]["name"], c["function"]["arguments"]) for c in said.get("tool_calls") or ()]
        reasoning, content = said.get("reasoning_content") or "", said.get("content") or ""
        return Answer(reasoning, content, calls, choice["finish_reason"])


@pytest.fixture(scope="module")
def server(tiny: Tokenizer, oracle_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = ScriptedServer(port, tiny, [*SAME.values(), *(text for text, _ in OURS_KEEPS.values())])
    path = tmp_path_factory.mktemp("scripted") / "model.gguf"
    write_scripted(path, tiny, found.script)
    command = [oracle_tools / "llama-server", "-m", path, "--port", str(port), "--jinja", "-c", str(POSITIONS)]
    command += ["-np", "1", "-t", "1", "--no-warmup"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                assert process.poll() is None
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield found
        finally:
            process.terminate()


def write_scripted(path: Path, tokenizer: Tokenizer, script: list[int]) -> None:
    """A GPT-2 that says `script` from position FIRST on: the logits at the position before name its first token."""
    model = tokenizer.sentencepieces
    assert model is not None
    output = np.random.default_rng(0).standard_normal((len(model.pieces), WIDTH)).astype(np.float32)
    output /= np.linalg.norm(output, axis=1, keepdims=True)
    positions = np.zeros((POSITIONS, WIDTH), np.float32)
    positions[FIRST - 1 : FIRST - 1 + len(script)] = output[script]
    tensors = {"token_embd.weight": np.zeros_like(output), "position_embd.weight": positions, "output.weight": output}
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        tensors |= {f"{name}.weight": np.ones(WIDTH, np.float32), f"{name}.bias": np.zeros(WIDTH, np.float32)}
    for name, rows in (("attn_qkv", 3 * WIDTH), ("attn_output", WIDTH), ("ffn_up", WIDTH), ("ffn_down", WIDTH)):
        tensors[f"blk.0.{name}.weight"] = np.zeros((rows, WIDTH), np.float32)
        tensors[f"blk.0.{name}.bias"] = np.zeros(rows, np.float32)
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(model.pieces))
    writer.add_token_scores(list(model.scores))
    writer.add_token_types(list(model.types))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", SAME)
def test_llama_server_reads_the_answer_as_we_do(server: ScriptedServer, tiny: Tokenizer, name: str) -> None:
    assert server.answer(SAME[name]) == ours(tiny, ids_of(tiny, SAME[name]))


@pytest.mark.parametrize("name", OURS_KEEPS)
def test_where_llama_server_fails_or_drops_text_we_keep_it(server: ScriptedServer, tiny: Tokenizer, name: str) -> None:
    text, _ = OURS_KEEPS[name]
    theirs, found = server.answer(text), ours(tiny, ids_of(tiny, text))
    assert theirs is None or len(theirs.reasoning + theirs.content) < len(found.reasoning + found.content)
    assert found.reasoning in ("", "考える。")
    assert found.content in ("こんにちは", "はい", "{}", "済み")
