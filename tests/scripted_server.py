"""A live server over a model that says what a test wants to hear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai

from edgellm.inference.constraint import matchers_of
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.prefix_cache import PrefixCache
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Part, load_tokenizer
from edgellm.serve.answering import ReaderLimits
from edgellm.serve.outcome import Observer
from edgellm.serve.service import Service
from edgellm.serve.shelf import Offer
from live_server import live_service
from scripted_runtime import ScriptedRuntime, saying
from tiny_checkpoints import TINY_JA


@dataclass
class Scripted:
    chat: LocalChat
    engine: ScriptedRuntime
    url: str
    http: httpx.Client
    client: openai.OpenAI


def serving(chat: LocalChat, observers: Sequence[Observer]) -> Service:
    service = Service([Offer("tiny", lambda _: chat)])
    service.observers += observers
    return service


@contextmanager
def scripted_server(
    answer: str, *, folder: Path = TINY_JA, context: int = 1024, sequences: int = 4, held_back: bool = False,
    readers: ReaderLimits | None = None, observers: Sequence[Observer] = (),
) -> Iterator[Scripted]:  # fmt: skip
    """`answer` may hold names of special tokens; `folder` has tokenizer and chat template."""
    tokenizer = load_tokenizer(folder)
    engine = ScriptedRuntime(
        sequences=sequences, vocab=tokenizer.vocab_tokens, context=context, step_tokens=256, held_back=held_back,
        rule=saying(tokenizer.encode_parts([Part(answer, True)])),
    )  # fmt: skip
    scheduler = Scheduler(engine, matchers=matchers_of(tokenizer), cache=PrefixCache(engine, SchedulerOptions()))
    with (
        LocalChat(scheduler, tokenizer, ChatTemplate.load(folder)) as chat,
        live_service(serving(chat, observers), readers=readers) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=30) as http,
    ):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", http_client=httpx.Client(trust_env=False))
        yield Scripted(chat, engine, url, http, client)
        engine.let_go()
