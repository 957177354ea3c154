from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.bench_options import Bench, bench_options
from edgellm.cli.load_options import LoadOptions, load_options
from edgellm.cli.loading_options import Loading, loading_options
from edgellm.cli.option_groups import names_of, refuse_given
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.verb import LOADABLE, Verb, json_option
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.records.bench import EngineBench


@click.command(
    "bench",
    cls=Verb,
    arguments={"TARGET": f"what to time: {LOADABLE} Without it, --url."},
    examples=[
        "edgellm bench tiny-ja",
        "edgellm bench my-bundle --parallel 1,8 --depth 0,512 --save results",
        "edgellm bench my-bundle --sustain 10m",
        "edgellm bench --url http://127.0.0.1:8080 --rate 2 --duration 60",
    ],
    json_keys={
        "results[].test": "what was timed: `pp512`, `tg128`, with `@d512` for a depth and `x8` for 8 sequences",
        "results[].tokens_per_s.median": "tokens a second, of all sequences together: the median of the runs",
        "results[].tokens_per_s.low": "the slowest run",
        "results[].tokens_per_s.high": "the fastest run",
        "results[].first_run_tokens_per_s": "the first run, which is not counted",
        "results[].seconds": "seconds of each run",
        "results[].characters_per_s": "Unicode characters a second, at the median; null without a vocabulary",
        "results[].joules_per_token": "energy above that of the idle machine; null where no source is read",
        "results[].joules_per_character": "the same for a character",
        "results[].bytes_per_token": "bytes that a decoded token must read: its share of the weights, and its KV cache",
        "results[].bandwidth_fraction": "those bytes over the time, as a share of the measured memory bandwidth",
        "results[].flops_per_s": "what a prompt must compute, over the time",
        "results[].flops_fraction": "the same as a share of the measured peak; above 1 where small integers are "
        "multiplied faster than floats",
        "model.sha256": "digest of the artifact",
        "model.random_weights": "whether `edgellm synth` made it: its speed is true, its words mean nothing",
        "machine": "processor, cores, memory, system",
        "conditions": "state of the machine before, during and after the run, versions, and what the figures mean",
        "ceilings": "memory bandwidth and peak math of the machine, measured in the same call; or null",
        "energy": "what each source counted, and what the idle machine takes",
        "peak_memory_bytes": "the most memory that this process held",
        "sustained": "with `--sustain`: speed, clock and temperature of each stretch",
        "settings": "what was asked for",
        "valid": "whether the figures hold: false when other programs or heat disturbed them",
        "reasons": "why they do not hold; empty when they do",
    },
)
@click.argument("target", required=False)
@click.option(
    "--url", metavar="URL", help="Put load on the OpenAI-compatible server there, instead of timing an engine here."
)
@bench_options
@loading_options
@load_options
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE|DIR",
    help="Keep the result in this .json file, or in a folder of results under a name of its own.",
)  # fmt: skip
@json_option
def bench(
    target: str | None, url: str | None, save: Path | None, as_json: bool, asked: Bench, loading: Loading,
    load_options: LoadOptions,
) -> None:  # fmt: skip
    """Time the engine as llama-bench does: pp (prompt processing) and tg (decoding) in tokens a second.

    Tokenization and sampling are not counted. The table gives median, slowest and fastest run. A checkpoint is
    converted to an F16 GGUF first. When other programs keep the processor busy, the result says that it is not valid.

    With --url, requests of Japanese text are sent to a server as asked for, and latencies, throughput and goodput come
    back.
    """
    if (target is None) == (url is None):
        raise UsageError("bench takes either a TARGET, whose engine is timed here, or --url of a server to put load on")
    if url is not None:
        from edgellm.cli.load_bench import run_load

        own = {*names_of(Bench), *names_of(Loading)} - {"prompt_tokens"}  # which says how long a request's prompt is
        refuse_given(own, "is for a TARGET, not for --url")
        run_load(url, load_options, as_json, save)
        return
    assert target is not None
    refuse_given(names_of(LoadOptions), "is for --url, not for a TARGET")
    show(measured(target, asked, loading), as_json, save)


def measured(target: str, asked: Bench, loading: Loading) -> EngineBench:
    from edgellm.build.benching import bench_target
    from edgellm.store.work import WorkFolder, default_root

    load = asked.load
    with progress_on_stderr() as progress:
        options = loading.options(load.context_tokens, max(load.parallel))
        return bench_target(target, load, options, WorkFolder(default_root()), progress, asked.besides)


def show(result: EngineBench, as_json: bool, save: Path | None) -> None:
    """Print first: a result is not lost where it cannot be saved."""
    if as_json:
        click.echo(result.model_dump_json())
    else:
        from edgellm.cli.tables import print_engine_tests

        click.echo(f"loaded {result.target}: {result.conditions['setup']}", err=True)
        print_engine_tests(result)
        if not result.valid:
            click.echo(f"not valid: {'; '.join(result.reasons)}", err=True)
    if save is not None:
        from edgellm.store.results import save as save_result

        click.echo(f"saved as {save_result(result, save)}", err=True)
