from __future__ import annotations

import click

from edgellm.cli.progress import progress_on_stderr
from edgellm.errors import UsageError


def parse_counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UsageError(f"--parallel {text!r} is no list of counts; write for example 1,8")
    return counts


@click.command("bench")
@click.argument("target")
@click.option("--prompt-tokens", type=click.IntRange(0), default=512, show_default=True)
@click.option("--decode-tokens", type=click.IntRange(0), default=128, show_default=True)
@click.option("--depth", type=click.IntRange(0), default=0, show_default=True, help="Tokens in the KV cache before.")
@click.option("--parallel", default="1", show_default=True, metavar="N,N", help="Sequences together.")
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(0), default=0, help="0: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def bench(
    target: str, prompt_tokens: int, decode_tokens: int, depth: int, parallel: str, repeat: int, threads: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Engine speed as llama-bench defines it: pp (prompt) and tg (decode), tokenization and sampling excluded.

    One warm-up, then --repeat runs; median, lowest and highest are given.
    """
    from edgellm.bench.engine import EngineLoad
    from edgellm.build.benching import bench_target
    from edgellm.store.work import WorkFolder, default_root

    load = EngineLoad(prompt_tokens, decode_tokens, depth, parse_counts(parallel), repeat)
    with progress_on_stderr() as progress:
        result = bench_target(target, load, threads, WorkFolder(default_root()), progress)
    if as_json:
        click.echo(result.model_dump_json())
        return
    from edgellm.cli.tables import print_engine_tests

    print_engine_tests(result.results)
    if not result.valid:
        click.echo(f"not valid: {'; '.join(result.reasons)}", err=True)
