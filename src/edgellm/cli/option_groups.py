"""Options that belong together reach a verb as one record, whose fields are named like click's parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from edgellm.errors import UsageError

VerbFunction = Callable[..., None]


def option_group(name: str, shape: type[Any], options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], VerbFunction]:
    """A decorator that adds the options to a verb and gives it one `shape` of their values, as argument `name`."""
    names = names_of(shape)

    def decorate(verb: VerbFunction) -> VerbFunction:
        @functools.wraps(verb)
        def gathered(*args: Any, **chosen: Any) -> None:
            chosen[name] = shape(**{each: chosen.pop(each) for each in names})
            verb(*args, **chosen)

        for option in reversed(options):
            gathered = option(gathered)
        return gathered

    return decorate


def names_of(shape: type[Any]) -> list[str]:
    """The parameters that a group is made of."""
    return [field.name for field in fields(shape)]


def refuse_given(names: Collection[str], why: str) -> None:
    """Raises UsageError if one of these parameters was given on the command line."""
    context = click.get_current_context()
    for option in context.command.params:
        if option.name in names and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{option.opts[0]} {why}; leave it out")


UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def byte_count(text: str) -> int:
    """A type of click's: a number of bytes, such as 12000000000, 12GB or 12GiB."""
    number = text.strip().lower().rstrip("bgikm")
    unit = text.strip().lower()[len(number) :]
    if unit not in UNITS or not number.replace(".", "", 1).isdecimal():
        raise click.BadParameter(f"{text!r} is no number of bytes; write for example 512MB or 16GB")
    return int(float(number) * UNITS[unit])
