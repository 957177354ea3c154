from __future__ import annotations

import click

from edgellm.cli.loading_options import Loading, loading_options
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import LOADABLE, Verb, json_option
from edgellm.errors import UsageError


def parse_counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UsageError(f"--parallel {text!r} is no list of counts; write for example 1,8")
    return counts


@click.command(
    "bench",
    cls=Verb,
    arguments={"TARGET": LOADABLE},
    examples=["edgellm bench tiny-ja", "edgellm bench my-bundle --parallel 1,8 --depth 512"],
    json_keys={
        "results[].test": "what was timed: `pp512`, `tg128`, with `@d512` for a depth and `x8` for 8 sequences",
        "results[].tokens_per_s.median": "tokens a second, of all sequences together: the median of the runs",
        "results[].tokens_per_s.low": "the slowest run",
        "results[].tokens_per_s.high": "the fastest run",
        "results[].characters_per_s": "Unicode characters a second, at the median",
        "results[].joules_per_token": "energy; null where no source is read",
        "results[].bandwidth_fraction": "share of the memory bandwidth; null where it is not measured",
        "machine": "processor, cores, memory, system",
        "conditions": "state of the machine before the run, and versions",
        "valid": "whether the figures hold: false when other programs kept the processor busy",
        "reasons": "why they do not hold; empty when they do",
    },
)
@click.argument("target")
@click.option(
    "--prompt-tokens",
    type=click.IntRange(0),
    default=512,
    show_default=True,
    metavar="N",
    help="Length of the prompt in tokens; 0: no prompt test.",
)
@click.option(
    "--decode-tokens",
    type=click.IntRange(0),
    default=128,
    show_default=True,
    metavar="N",
    help="Tokens to decode; 0: no decode test.",
)
@click.option(
    "--depth",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Tokens that are in the KV cache before the timed part.",
)
@click.option(
    "--parallel",
    default="1",
    show_default=True,
    metavar="N,N",
    help="Sequences processed together; each count is a row of its own.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    metavar="N",
    help="Timed runs of each test, after one warm-up.",
)
@loading_options
@json_option
def bench(
    target: str, prompt_tokens: int, decode_tokens: int, depth: int, parallel: str, repeat: int,
    loading: Loading, as_json: bool,
) -> None:  # fmt: skip
    """Time the engine as llama-bench does: pp (prompt processing) and tg (decoding) in tokens a second.

    Tokenization and sampling are not counted. The table gives median, slowest and fastest run. A checkpoint is
    converted to an F16 GGUF first. When other programs keep the processor busy, the result says that it is not valid.
    """
    from edgellm.bench.engine import EngineLoad
    from edgellm.build.benching import bench_target
    from edgellm.store.work import WorkFolder, default_root

    load = EngineLoad(prompt_tokens, decode_tokens, depth, parse_counts(parallel), repeat)
    with progress_on_stderr() as progress:
        options = loading.options(load.context_tokens, max(load.parallel))
        result = bench_target(target, load, options, WorkFolder(default_root()), progress)
    if as_json:
        click.echo(result.model_dump_json())
        return
    from edgellm.cli.tables import print_engine_tests

    click.echo(f"loaded {result.target}: {result.conditions['setup']}", err=True)
    print_engine_tests(result.results)
    if not result.valid:
        click.echo(f"not valid: {'; '.join(result.reasons)}", err=True)
