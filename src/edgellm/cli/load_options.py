"""Options of `bench --url`: what load is put on a server, and which limits count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from edgellm.cli.bench_options import Counts
from edgellm.cli.load_values import export, limits, seconds
from edgellm.cli.option_groups import option_group

FILE = click.Path(dir_okay=False, path_type=Path)
WORKLOADS = ("chat", "document", "translation", "extraction")


@dataclass(frozen=True)
class LoadOptions:
    rate: float | None
    arrival: Literal["poisson", "constant"]
    concurrency: int | None
    sweep: bool
    duration: float | None
    requests: int | None
    workload: str
    output_tokens: tuple[int, ...] | None
    turns: int
    cache_busting: bool
    ignore_eos: bool
    seed: int
    slo: Mapping[str, float] | None
    warm_up: int | None
    model: str | None
    tokenizer: str | None
    api_key_file: Path | None
    ca: Path | None
    timeout: float
    fresh_connections: bool
    export: tuple[tuple[str, Path], ...]


load_options = option_group("load_options", LoadOptions, [
    click.option(
        "--rate", type=click.FloatRange(0, min_open=True), metavar="R",
        help="With --url: requests a second, sent whether or not others are answered; of several turns, conversations.",
    ),
    click.option(
        "--arrival", type=click.Choice(["poisson", "constant"]), default="poisson", show_default=True,
        help="How the requests of --rate come: at random, or evenly spaced.",
    ),
    click.option(
        "--concurrency", type=click.IntRange(1), metavar="C", show_default="1",
        help="With --url: clients that each send a request when the one before it is answered; instead of --rate.",
    ),
    click.option(
        "--sweep", is_flag=True,
        help="Double the load, from --concurrency or --rate on, until that brings less than 5 % more output tokens "
        "(with --slo: goodput), or less than 90 % of the requests keep the SLO.",
    ),
    click.option(
        "--duration", type=seconds, metavar="S", show_default="30, where --requests is not given",
        help="Seconds for which requests are sent, of each step of a sweep; answers are waited for.",
    ),
    click.option(
        "--requests", type=click.IntRange(1), metavar="N",
        help="Requests to send; of a sweep its first step, and twice as many in each one after it.",
    ),
    click.option(
        "--workload", type=click.Choice(WORKLOADS), default="chat", show_default=True,
        help="What is asked, in Japanese: short questions, about a long document, a translation, facts as JSON.",
    ),
    click.option(
        "--output-tokens", type=Counts(1), metavar="N,N", show_default="the workload's own lengths",
        help="The most that an answer may take. With --url, --prompt-tokens says how long a prompt is: in tokens of "
        "--tokenizer, else about, by what the server counts, else in characters.",
    ),
    click.option(
        "--turns", type=click.IntRange(1), default=1, show_default=True, metavar="N",
        help="Questions of a conversation; each is sent, with all before it, when the answer has come.",
    ),
    click.option(
        "--cache-busting", is_flag=True,
        help="Begin each conversation with a mark of its own, so that the server can reuse nothing of others.",
    ),
    click.option(
        "--ignore-eos", is_flag=True,
        help="Ask for answers of full length; vLLM, llama.cpp, SGLang and edgellm know how.",
    ),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N",
        help="The same seed gives the same prompts and arrivals.",
    ),
    click.option(
        "--slo", type=limits, metavar="LIMITS",
        help="Limits in ms that count as good, ttft=500,tpot=50 say; also e2e.",
    ),
    click.option(
        "--warm-up", type=click.IntRange(0), metavar="N", show_default="one for each client",
        help="Requests sent before, which count for nothing.",
    ),
    click.option("--model", metavar="NAME", show_default="the first that the server lists", help="Whom to ask."),
    click.option("--tokenizer", metavar="TARGET", help="Whose tokenizer counts the tokens of prompts, exactly."),
    click.option(
        "--api-key-file", type=FILE, metavar="FILE",
        help="File that holds the key for the server; else the variable EDGELLM_API_KEY is sent, if there is one.",
    ),
    click.option("--ca", type=FILE, metavar="FILE", help="Certificates (PEM) to trust for https, not the system's."),
    click.option(
        "--timeout", type=seconds, default="600", show_default=True, metavar="S",
        help="The most that one answer may take before it counts as failed.",
    ),
    click.option(
        "--fresh-connections", is_flag=True,
        help="A connection for each request, for servers that close one just when it is used again.",
    ),
    click.option(
        "--export", type=export, multiple=True, metavar="SHAPE=FILE",
        help="Write the result as `vllm bench serve` or guidellm would: vllm=FILE, guidellm=FILE.",
    ),
])  # fmt: skip
