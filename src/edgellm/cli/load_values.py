"""What the values of `bench --url`'s options look like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from edgellm.cli.bench_options import duration_s

LIMITS = ("ttft", "tpot", "e2e")
SHAPES = ("vllm", "guidellm")


def seconds(text: str) -> float:
    """A type of click's: seconds, as a number or as `90s`, `10m`, `1h`."""
    try:
        value = float(text)
    except ValueError:
        return duration_s(text)
    if not 0 < value < float("inf"):
        raise click.BadParameter(f"{text!r} is no duration; write for example 60 or 10m")
    return value


def limits(text: str) -> Mapping[str, float]:
    """A type of click's: milliseconds by measure, `ttft=500,tpot=50` say."""
    found = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in LIMITS or not value.replace(".", "", 1).isdecimal():
            raise click.BadParameter(f"{part!r} is no limit; write for example ttft=500,tpot=50,e2e=10000 (ms)")
        found[name] = float(value)
    return found


def export(text: str) -> tuple[str, Path]:
    """A type of click's: `vllm=FILE` or `guidellm=FILE`."""
    shape, _, path = text.partition("=")
    if shape not in SHAPES or not path:
        raise click.BadParameter(f"{text!r} is no export; write vllm=FILE or guidellm=FILE")
    return shape, Path(path)
