from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgellm.records.tokenization import TokenizedText


@click.command("tokenize")
@click.argument("target")
@click.argument("text", metavar="TEXT|-")
@click.option("--lines", is_flag=True, help="One text a line in, one JSON document a line out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def tokenize(target: str, text: str, lines: bool, as_json: bool) -> None:
    """Exact token ids of TEXT (or of standard input, to the last byte), without BOS.

    Names of special tokens in the text stay text. Where the engine has a vocabulary of its own, what it would
    give is shown beside them.
    """
    from io import BytesIO

    from edgellm.build.tokenizing import TextTokenizer, decoded, read_lines

    data = sys.stdin.buffer if text == "-" else BytesIO(text.encode("utf-8", "surrogateescape"))
    with TextTokenizer(target) as tokenizer:
        if lines:
            for found in tokenizer.tokenize_lines(read_lines(data)):
                print_json(found)
            return
        [found] = tokenizer.tokenize([decoded(data.read())])
    if as_json:
        print_json(found)
    else:
        print_tokens(found)


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
