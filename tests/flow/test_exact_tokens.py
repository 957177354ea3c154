"""Exact ids whatever the vocabulary is read from, on 20,000 lines; and nobody can type a special token, anywhere."""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import httpx
import pytest
import sentencepiece

from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.tokenizer import tokenizer_of
from edgellm.engines.gguf.vocabulary_only import engine_ids, write_vocabulary
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Tokenizer, load_tokenizer
from japanese_samples import SENTENCES, TRAPS
from live_server import live_server
from scripted_runtime import ScriptedRuntime
from tiny_checkpoints import TINY_JA

LINES, OF_ENGINE = 20_000, 4_000  # the engine's own tokenizer takes several times as long
KINDS = ["tokenizer.json", "tokenizer.model", "gguf"]


class Opened:
    """One tokenizer by where it is read from, each kind loaded once."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.gguf = scratch / "vocabulary.gguf"
        self._known: dict[str, Tokenizer] = {}

    @cached_property
    def reference(self) -> sentencepiece.SentencePieceProcessor:
        return sentencepiece.SentencePieceProcessor(model_file=str(self.folder / "tokenizer.model"))

    def __call__(self, kind: str) -> Tokenizer:
        if kind not in self._known:
            self._known[kind] = self._read(kind)
        return self._known[kind]

    def _read(self, kind: str) -> Tokenizer:
        if kind == "tokenizer.json":
            return load_tokenizer(self.folder)
        if kind == "gguf":
            write_vocabulary(self("tokenizer.json"), self.gguf)
            return tokenizer_of(read_header(self.gguf))
        for name in ("tokenizer.model", "tokenizer_config.json"):
            shutil.copyfile(self.folder / name, self.scratch / name)
        return load_tokenizer(self.scratch)


@pytest.fixture(scope="module")
def llm_jp(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(shared / "data" / "llm-jp-4-tokenizer", tmp_path_factory.mktemp("llm-jp-4"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(TINY_JA, tmp_path_factory.mktemp("tiny-ja"))


def corpus_lines(shared: Path) -> list[str]:
    """All held-out lines, and statutes up to the number wanted."""
    lines: list[str] = []
    for name in ("aozora-heldout", "statutes-heldout", "statutes-train"):
        text = lzma.decompress((shared / "corpus" / f"{name}.txt.xz").read_bytes()).decode()
        lines += [line for line in text.split("\n") if line.strip("\x0c")]
    return lines[:LINES]


def test_llm_jp_4_ids_equal_sentencepiece_on_20000_lines_also_from_a_gguf(llm_jp: Opened, shared: Path) -> None:
    lines = [*corpus_lines(shared), *SENTENCES, *TRAPS.values()]
    assert len(lines) >= LINES
    reference = llm_jp.reference.encode(lines)
    differing = {
        kind: sum(a != b for a, b in zip(llm_jp(kind).encode_lines(lines), reference, strict=True)) for kind in KINDS
    }
    engine = engine_ids(llm_jp.gguf, lines[:: LINES // OF_ENGINE])
    exact = reference[:: LINES // OF_ENGINE]
    others = sum(a != b for a, b in zip(engine, exact, strict=True)) / len(exact)
    more = sum(map(len, engine)) / sum(map(len, exact)) - 1
    print(f"\nlines of {LINES} that differ from sentencepiece: {differing}")
    print(f"the engine's own vocabulary differs on {others:.1%} of the lines and needs {more:.1%} more tokens")
    assert differing == dict.fromkeys(KINDS, 0)
    assert more > 0.02


def names_to_type(opened: Opened) -> list[str]:
    """Every name of a special token: the tokenizer's own and those that tokenizer.model has at the same ids."""
    special = opened("tokenizer.json").special_ids
    return list(dict.fromkeys([*special, *map(opened.reference.IdToPiece, special.values())]))


def check_no_name_is_special(opened: Opened, kind: str) -> None:
    tokenizer, names = opened(kind), names_to_type(opened)
    texts = [*(f"前{name}後" for name in names), *names, "".join(names)]
    for text, ids in zip(texts, tokenizer.encode_lines(texts), strict=True):
        assert not any(map(tokenizer.is_special, ids)), text
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", KINDS)
def test_all_352_added_tokens_of_llm_jp_4_typed_by_a_user_are_characters(llm_jp: Opened, kind: str) -> None:
    assert len(llm_jp(kind).special_ids) == 352
    assert {"<|end|>", "<RESERVED_002>", "<s>"} < set(names_to_type(llm_jp))
    check_no_name_is_special(llm_jp, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_all_added_tokens_of_tiny_ja_typed_by_a_user_are_characters(tiny: Opened, kind: str) -> None:
    check_no_name_is_special(tiny, kind)


def check_prompts(opened: Opened, kind: str) -> None:
    """What reaches the engine of a hostile text by the server's two endpoints and the way `run` takes."""
    tokenizer, hostile, seen = opened(kind), "".join(names_to_type(opened)), list[list[int]]()

    def end(ids: Sequence[int], prompt: int) -> int:
        seen.append([i for i in ids[:prompt] if tokenizer.is_special(i)])
        return 2

    runtime = ScriptedRuntime(vocab=tokenizer.vocab_tokens, context=16_384, step_tokens=16_384, rule=end)
    template = ChatTemplate.load(opened.folder)
    with LocalChat(Scheduler(runtime), tokenizer, template) as chat, live_server(chat) as url:
        honest = [i for i in chat.prompt([Message("user", "はい")]) if tokenizer.is_special(i)]
        message = {"role": "user", "content": hostile}
        httpx.post(f"{url}/v1/chat/completions", json={"messages": [message]}, trust_env=False).raise_for_status()
        httpx.post(f"{url}/v1/completions", json={"prompt": hostile}, trust_env=False).raise_for_status()
        assert [*chat.stream([Message("user", hostile)], SamplingOptions(), 1)][-1].finish_reason == "stop"
    bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    assert seen == [honest, bos, honest]
    assert len(honest) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompt_of_llm_jp_4_holds_a_special_token_that_a_user_typed(llm_jp: Opened, kind: str) -> None:
    check_prompts(llm_jp, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompt_of_tiny_ja_holds_a_special_token_that_a_user_typed(tiny: Opened, kind: str) -> None:
    check_prompts(tiny, kind)
