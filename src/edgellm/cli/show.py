from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import READABLE, Verb, json_option

if TYPE_CHECKING:
    from edgellm.records.inspection import Inspection


@click.command(
    "show",
    cls=Verb,
    arguments={"TARGET": READABLE},
    examples=["edgellm show tiny-ja", "edgellm show my-bundle --json"],
    json_keys={
        "kind": "`bundle`, `gguf`, `onnx`, `checkpoint` or `tokenizer`",
        "architecture": "as the files name it",
        "parameters": "number of weights",
        "active_parameters": "weights that take part in one token",
        "context_tokens": "longest context that the model was made for",
        "vocab_tokens": "size of the vocabulary",
        "tensors[].name": "name of a tensor",
        "tensors[].type": "how it is stored",
        "tensors[].shape": "rows before columns",
        "tokenizer": "kind, `source` and `reason` of its choice, size, special tokens, chat template; null where there "
        "is none",
    },
)
@click.argument("target")
@json_option
def show(target: str, as_json: bool) -> None:
    """Tell what is inside a model, without loading its weights: sizes, tensors, tokenizer."""
    from edgellm.build.inspection import inspect

    with progress_on_stderr() as progress, progress.work(f"read {target}"):
        found = inspect(target)
    if as_json:
        click.echo(found.model_dump_json())
    else:
        print_inspection(found)


def print_inspection(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgellm.build.inspection import grouped

    facts = Table(box=None, show_header=False)
    for name, value in lines(found):
        facts.add_row(name, value)
    Console().print(facts)
    if found.tensors:
        tensors = Table("tensor", "type", "shape", "count", box=None)
        for name, type_name, shape, count in grouped(found.tensors):
            tensors.add_row(name, type_name, shape, f"{count:,}")
        Console().print(tensors)


def lines(found: Inspection) -> list[tuple[str, str]]:
    """Label and value of every fact that the target tells."""
    rows: list[tuple[str, object]] = [
        ("name", found.name),
        ("kind", found.kind),
        ("architecture", found.architecture),
        ("parameters", found.parameters),
        ("active parameters", found.active_parameters),
        ("context tokens", found.context_tokens),
        ("vocabulary tokens", found.vocab_tokens),
        ("bytes", found.size_bytes),
        ("bits per weight", found.bits_per_weight),
        ("type", found.type),
        ("licence", found.licence),
        ("verification", None if found.passed is None else "passed" if found.passed else "FAILED"),
    ]
    if (tokenizer := found.tokenizer) is not None:
        special = ", ".join(f"{role} {i}" for role, i in tokenizer.special.items())
        rows += [
            ("tokenizer", f"{tokenizer.kind}, {tokenizer.tokens:,} tokens"),
            ("taken from", f"{tokenizer.source}: {tokenizer.reason}" if tokenizer.source else tokenizer.reason),
            ("special tokens", f"{special}; stops {', '.join(map(str, tokenizer.stop_ids))}"),
            ("chat template", "yes" if tokenizer.chat_template else "no"),
        ]
    return [(name, shown(value)) for name, value in rows if value is not None]


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
