"""What an engine bench times, and what it measures beside that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.option_groups import option_group

if TYPE_CHECKING:
    from edgellm.bench.engine import EngineLoad
    from edgellm.build.benching import Besides

UNITS_S = {"s": 1, "m": 60, "h": 3600}


class Counts(click.ParamType):  # type: ignore[type-arg]  # generic only in the newest click
    """One whole number or several, `0,512` say; a list in a configuration file is taken too."""

    name = "counts"

    def __init__(self, least: int) -> None:
        self.least = least

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:  # fmt: skip
        parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
        texts = [str(part).strip() for part in parts]
        if not texts or not all(text.isdecimal() and int(text) >= self.least for text in texts):
            self.fail(f"{value!r} is no list of whole numbers from {self.least} on; write for example 1,8", param, ctx)
        return tuple(dict.fromkeys(map(int, texts)))


def duration_s(text: str) -> float:
    """A type of click's: seconds, of `90s`, `10m` or `1.5h`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not found or not float(found[1]):
        raise click.BadParameter(f"{text!r} is no duration; write for example 90s, 10m or 1h")
    return float(found[1]) * UNITS_S[found[2]]


@dataclass(frozen=True)
class Bench:
    prompt_tokens: tuple[int, ...]
    decode_tokens: tuple[int, ...]
    depth: tuple[int, ...]
    parallel: tuple[int, ...]
    repeat: int
    sustain: float | None
    meter: Path | None
    ceilings: bool
    batch: int | None
    ubatch: int | None

    @property
    def load(self) -> EngineLoad:
        from edgellm.bench.engine import EngineLoad

        return EngineLoad(self.prompt_tokens, self.decode_tokens, self.depth, self.parallel, self.repeat)

    @property
    def besides(self) -> Besides:
        from edgellm.build.benching import Besides

        return Besides(self.ceilings, self.sustain or 0.0, self.meter, self.batch, self.ubatch)


bench_options = option_group("asked", Bench, [
    click.option(
        "--prompt-tokens", type=Counts(0), default="512", show_default=True, metavar="N,N",
        help="Length of the prompt in tokens; 0: no prompt test.",
    ),
    click.option(
        "--decode-tokens", type=Counts(0), default="128", show_default=True, metavar="N,N",
        help="Tokens to decode; 0: no decode test.",
    ),
    click.option(
        "--depth", type=Counts(0), default="0", show_default=True, metavar="N,N",
        help="Tokens that are in the KV cache before the timed part.",
    ),
    click.option(
        "--parallel", type=Counts(1), default="1", show_default=True, metavar="N,N",
        help="Sequences processed together; each count is a row of its own.",
    ),
    click.option(
        "--repeat", type=click.IntRange(1), default=5, show_default=True, metavar="N",
        help="Timed runs of each test, after one warm-up.",
    ),
    click.option(
        "--sustain", type=duration_s, metavar="TIME",
        help="Repeat the first decode test for so long afterwards, 10m say, and tell how the speed holds.",
    ),
    click.option(
        "--meter", type=click.Path(path_type=Path), metavar="FILE",
        help="CSV of an external power meter, which records during the bench: a time and watts a line.",
    ),
    click.option(
        "--ceilings/--no-ceilings", default=True, show_default=True,
        help="Measure the machine's memory bandwidth and peak math, to say what share of them is used.",
    ),
    click.option(
        "--batch", "-b", type=click.IntRange(1), metavar="N", show_default="2048",
        help="The most tokens that one call of llama.cpp gets; GGUF.",
    ),
    click.option(
        "--ubatch", "-ub", type=click.IntRange(1), metavar="N", show_default="512",
        help="How many of them it computes at once; GGUF.",
    ),
])  # fmt: skip
