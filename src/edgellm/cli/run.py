from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.loading_options import Loading, loading_options
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.stopping import STOP
from edgellm.cli.verb import LOADABLE, Verb, context_option, json_option

if TYPE_CHECKING:
    from edgellm.inference.chat import Delta, Message, SamplingOptions, Usage
    from edgellm.inference.local_chat import LocalChat


PATIENCE_S = 0.5  # for the engine, when a chat ends


@dataclass
class Answer:
    """What has come so far."""

    text: str = ""
    reasoning: str = ""
    usage: Usage | None = None


@click.command(
    "run",
    cls=Verb,
    arguments={"TARGET": LOADABLE, "PROMPT": "What to answer; without it a chat begins."},
    examples=['edgellm run tiny-ja "日本の首都はどこですか。"', "edgellm run my-bundle"],
    json_keys={
        "text": "the answer",
        "reasoning": "what the model thought before, if it does so",
        "usage.prompt_tokens": "tokens of the prompt, chat template included",
        "usage.completion_tokens": "tokens of the answer, reasoning included",
    },
)
@click.argument("target")
@click.argument("prompt", required=False)
@click.option("--system", help="What the model is told before the conversation.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    metavar="N",
    show_default="what the context holds",
    help="Longest answer, in tokens.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    metavar="T",
    show_default="what the model advises",
    help="How freely tokens are drawn; 0: always the likeliest.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    show_default="another each time",
    help="The same seed gives the same answer.",
)
@click.option("--lora", metavar="PATH", help="LoRA adapter to answer with: a PEFT folder, or a GGUF made of one.")
@context_option
@loading_options
@json_option
def run(
    target: str, prompt: str | None, system: str | None, max_tokens: int | None, temperature: float | None,
    seed: int | None, lora: str | None, context: int, loading: Loading, as_json: bool,
) -> None:  # fmt: skip
    """Answer a prompt in the terminal, streamed; without a prompt, chat.

    The answer goes to stdout, the model's reasoning to stderr. In the chat, Ctrl-C stops an answer and, at
    the prompt, ends the chat, as do /quit and the end of the input. A checkpoint is converted to an F16 GGUF first.
    """
    from contextlib import ExitStack
    from dataclasses import asdict, replace

    from edgellm.build.adapters import adapter_files
    from edgellm.build.opening import open_target
    from edgellm.errors import UsageError
    from edgellm.inference.advice import advised_sampling
    from edgellm.inference.chat import Message
    from edgellm.inference.local_chat import open_chat

    if as_json and prompt is None:
        raise UsageError("--json prints one answer; give the PROMPT that it answers")
    messages = [Message("system", system)] if system else []
    with ExitStack() as opened:
        with progress_on_stderr() as progress:
            files = adapter_files({lora: Path(lora)} if lora else {}, target, progress)
            model = open_target(target, progress)
            with progress.work(f"load {model.name}"):
                options = loading.options(context, adapters=files)
                chat = opened.enter_context(open_chat(model, options, adapter=lora))
        if not as_json:
            click.echo(f"loaded {model.name}: {chat.scheduler.info.setup}", err=True)
        sampling = replace(advised_sampling(model), seed=seed)
        if temperature is not None:
            sampling = replace(sampling, temperature=temperature)
        if prompt is None:
            with STOP.own_interrupts():
                converse(chat, messages, sampling, max_tokens)
            if not chat.close(PATIENCE_S):
                os._exit(0)  # an answer that was stopped is still in a long step of the engine
            return
        answer = Answer()
        deltas = chat.stream([*messages, Message("user", prompt)], sampling, max_tokens)
        show(awaited(deltas, whole=as_json), answer, quiet=as_json)
    if as_json:
        click.echo(json.dumps(asdict(answer), ensure_ascii=False))


def awaited(deltas: Iterable[Delta], *, whole: bool = False) -> Iterator[Delta]:
    """The same deltas; stderr shows that work goes on until the first of them has come, or the whole answer."""
    rest = iter(deltas)
    with progress_on_stderr() as progress, progress.work("answer" if whole else "read the prompt"):
        come = list(rest if whole else islice(rest, 1))
    yield from come
    yield from rest


def show(deltas: Iterable[Delta], answer: Answer, quiet: bool = False) -> None:
    """Gather an answer as it comes and, unless `quiet`, print it."""
    try:
        for delta in deltas:
            if answer.reasoning and delta.content and not answer.text and not quiet:
                click.echo(err=True)
            answer.text += delta.content
            answer.reasoning += delta.reasoning
            answer.usage = delta.usage or answer.usage
            if delta.reasoning and not quiet:
                click.secho(delta.reasoning, nl=False, err=True, dim=True)
            if delta.content and not quiet:
                click.echo(delta.content, nl=False)
    finally:
        if answer.reasoning and not answer.text and not quiet:
            click.echo(err=True)  # what is said after an interrupt begins a line
    if not quiet:
        click.echo()


def converse(chat: LocalChat, messages: list[Message], sampling: SamplingOptions, max_tokens: int | None) -> None:
    """Turn after turn until /quit, the end of the input, or Ctrl-C at the prompt."""
    from contextlib import closing

    from edgellm.errors import PromptTooLong, UsageError
    from edgellm.inference.chat import Message

    while True:
        try:
            said = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return
        except UnicodeDecodeError:
            raise UsageError("the chat was given a line that is not UTF-8; send UTF-8 text") from None
        if said == "/quit":
            return
        if not said:
            continue
        messages.append(Message("user", said))
        answer = Answer()
        with closing(chat.stream(messages, sampling, max_tokens)) as deltas:
            try:
                show(awaited(deltas), answer)
            except KeyboardInterrupt:
                click.echo("\n(stopped)", err=True)
            except PromptTooLong as error:
                click.echo(f"edgellm: {error}", err=True)
        if answer.text:
            messages.append(Message("assistant", answer.text))
        else:
            messages.pop()  # a question without an answer would stand before the next one for good
