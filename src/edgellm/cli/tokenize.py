from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import READABLE, Verb, json_option

if TYPE_CHECKING:
    from edgellm.records.tokenization import TokenizedText
    from edgellm.stages import Report


@click.command(
    "tokenize",
    cls=Verb,
    arguments={
        "TARGET": READABLE,
        "TEXT|-": "The text; - takes it from standard input, to the last byte.",
    },
    examples=['edgellm tokenize tiny-ja "すもももももももものうち"', "edgellm tokenize tiny-ja - --lines < texts.txt"],
    json_keys={
        "ids": "exact token ids, without BOS",
        "tokens": "their pieces",
        "engine_ids": "what the engine's own vocabulary would give; absent where it has none",
        "agrees": "whether both are equal; absent where the engine has no vocabulary",
    },
)
@click.argument("target")
@click.argument("text", metavar="TEXT|-")
@click.option("--lines", is_flag=True, help="Take each line as a text of its own and print a JSON document a line.")
@json_option
def tokenize(target: str, text: str, lines: bool, as_json: bool) -> None:
    """Give the exact token ids of a text, without BOS.

    Names of special tokens in the text stay text. Where the engine has a vocabulary of its own, what it would
    give is shown too.
    """
    from contextlib import nullcontext
    from io import BytesIO

    from edgellm.build.tokenizing import TextTokenizer, decoded, read_lines
    from edgellm.stages import labelled

    data = sys.stdin.buffer if text == "-" else BytesIO(text.encode("utf-8", "surrogateescape"))
    # Lines that appear on the terminal are their own progress, and a bar would stand between them.
    watched = nullcontext() if lines and sys.stdout.isatty() else progress_on_stderr()
    with watched as progress, labelled(progress, "tokenize") as report, TextTokenizer(target) as tokenizer:
        if lines:
            for found in tokenizer.tokenize_lines(read_lines(counted(data, report))):
                print_json(found)
            return
        [found] = tokenizer.tokenize([decoded(data.read())])
    if as_json:
        print_json(found)
    else:
        print_tokens(found)


def counted(stream: BinaryIO, report: Report | None) -> Iterator[bytes]:
    """The lines of a stream, whose bytes are reported as they are read."""
    size = os.fstat(0).st_size if stream is sys.stdin.buffer else 0  # 0 for a pipe
    done = 0
    for line in stream:
        done += len(line)
        if report is not None:
            report(done, size)
        yield line


def print_json(found: TokenizedText) -> None:
    sys.stdout.write(found.model_dump_json(exclude_none=True) + "\n")


def print_tokens(found: TokenizedText) -> None:
    """Each id with its piece; below, where the engine's own vocabulary differs."""
    width = len(str(max(found.ids, default=0)))
    for token, piece in zip(found.ids, found.tokens, strict=True):
        click.echo(f"{token:>{width}}  {piece}")
    click.echo(f"{len(found.ids)} tokens")
    if found.engine_ids is not None:
        verdict = "agrees" if found.agrees else f"would give {len(found.engine_ids)} others: {found.engine_ids}"
        click.echo(f"the engine's own vocabulary {verdict}")
