from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgellm.cli.progress import progress_on_stderr

if TYPE_CHECKING:
    from edgellm.inference.chat import Delta, Message, SamplingOptions, Usage
    from edgellm.inference.local_chat import LocalChat


@dataclass
class Answer:
    """What has come so far."""

    text: str = ""
    reasoning: str = ""
    usage: Usage | None = None


@click.command("run")
@click.argument("target")
@click.argument("prompt", required=False)
@click.option("--system", help="What the model is told before the conversation.")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest answer; what fits in the context.")
@click.option("--temperature", type=click.FloatRange(0), help="0: always the likeliest token. What the model advises.")
@click.option("--seed", type=click.IntRange(0), help="The same seed gives the same answer.")
@click.option("--context", type=click.IntRange(0), default=0, help="Tokens of the whole conversation; the model's.")
@click.option("--threads", type=click.IntRange(0), default=0, help="0: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, when the answer is complete.")
def run(
    target: str, prompt: str | None, system: str | None, max_tokens: int | None, temperature: float | None,
    seed: int | None, context: int, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """One answer in the terminal, streamed; without a PROMPT a small chat.

    The answer goes to stdout, the model's reasoning to stderr. In the chat, Ctrl-C stops an answer and, at
    the prompt, ends the chat, as do /quit and the end of the input.
    """
    from dataclasses import asdict, replace

    from edgellm.build.pipeline import open_target
    from edgellm.engines.protocol import RuntimeOptions
    from edgellm.errors import UsageError
    from edgellm.inference.advice import advised_sampling
    from edgellm.inference.chat import Message
    from edgellm.inference.local_chat import open_chat

    if as_json and prompt is None:
        raise UsageError("--json prints one answer; give the PROMPT that it answers")
    with progress_on_stderr() as progress:
        model = open_target(target, progress)
    sampling = replace(advised_sampling(model), seed=seed)
    if temperature is not None:
        sampling = replace(sampling, temperature=temperature)
    messages = [Message("system", system)] if system else []
    with open_chat(model, RuntimeOptions(context, 1, threads)) as chat:
        if prompt is None:
            converse(chat, messages, sampling, max_tokens)
            return
        answer = Answer()
        show(chat.stream([*messages, Message("user", prompt)], sampling, max_tokens), answer, quiet=as_json)
    if as_json:
        click.echo(json.dumps(asdict(answer), ensure_ascii=False))


def show(deltas: Iterable[Delta], answer: Answer, quiet: bool = False) -> None:
    """Gather an answer as it comes and, unless `quiet`, print it."""
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
    if not quiet:
        click.echo()


def converse(chat: LocalChat, messages: list[Message], sampling: SamplingOptions, max_tokens: int | None) -> None:
    """Turn after turn until /quit, the end of the input, or Ctrl-C at the prompt."""
    from contextlib import closing

    from edgellm.errors import PromptTooLong
    from edgellm.inference.chat import Message

    while True:
        try:
            said = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return
        if said == "/quit":
            return
        if not said:
            continue
        messages.append(Message("user", said))
        answer = Answer()
        with closing(chat.stream(messages, sampling, max_tokens)) as deltas:
            try:
                show(deltas, answer)
            except KeyboardInterrupt:
                click.echo("\n(stopped)", err=True)
            except PromptTooLong as error:
                click.echo(f"edgellm: {error}", err=True)
        if answer.text:
            messages.append(Message("assistant", answer.text))
        else:
            messages.pop()  # a question without an answer would stand before the next one for good
