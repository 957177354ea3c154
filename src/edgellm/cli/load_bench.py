"""`bench --url`: carry out the load that the options ask for, and print what came of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edgellm.cli.load_options import LoadOptions
from edgellm.cli.progress import progress_on_stderr
from edgellm.errors import BadInput, UsageError

if TYPE_CHECKING:
    from edgellm.bench.load.bench import LoadOrder
    from edgellm.bench.load.plan import Load
    from edgellm.records.bench import LoadBench

DURATION_S = 30.0


def run_load(url: str, options: LoadOptions, as_json: bool, save: Path | None) -> None:
    """Raises UsageError for options that do not go together, and what `bench_load` raises."""
    from edgellm.bench.load.bench import bench_load

    asked = order(url, options)
    with progress_on_stderr() as progress:
        result = bench_load(asked, progress.work)
    if as_json:
        click.echo(result.model_dump_json())
    else:
        from edgellm.cli.load_tables import print_load

        print_load(result)
    # Printed first: a result is not lost where it cannot be saved.
    for shape, path in options.export:
        write_export(result, shape, path)
    if save is not None:
        from edgellm.store.results import save as save_result

        click.echo(f"saved as {save_result(result, save)}", err=True)


def order(url: str, options: LoadOptions) -> LoadOrder:
    from edgellm.bench.load.bench import LoadOrder
    from edgellm.bench.load.client import Server
    from edgellm.bench.load.workloads import WorkloadOptions, exact

    server = Server(url, api_key(options.api_key_file), options.ca, options.timeout, options.fresh_connections)
    workload = WorkloadOptions(
        options.workload, prompt_tokens(), options.output_tokens or (), options.turns, options.cache_busting,
        options.ignore_eos, options.seed,
    )  # fmt: skip
    return LoadOrder(
        server, load_of(options), workload, options.model, exact(options.tokenizer) if options.tokenizer else None,
        options.warm_up, options.slo or {}, options.sweep,
    )  # fmt: skip


def load_of(options: LoadOptions) -> Load:
    from edgellm.bench.load.plan import Load

    if options.rate is not None and options.concurrency is not None:
        raise UsageError("--rate and --concurrency exclude each other; give one")
    duration_s = options.duration if options.duration or options.requests else DURATION_S
    if options.rate is None:
        return Load("closed", options.concurrency or 1, None, duration_s, options.requests)
    return Load(options.arrival, None, options.rate, duration_s, options.requests)


def prompt_tokens() -> tuple[int, ...]:
    """`--prompt-tokens`, which the engine bench has with a default of its own; here only what was given counts."""
    context = click.get_current_context()
    if context.get_parameter_source("prompt_tokens") in (None, ParameterSource.DEFAULT):
        return ()
    counts: tuple[int, ...] = context.params["prompt_tokens"]
    if min(counts) < 1:
        raise UsageError("--prompt-tokens 0 leaves nothing to ask a server; give 1 or more")
    return counts


def api_key(file: Path | None) -> str | None:
    """Never an option's own value, which every user of the machine could read in the list of processes."""
    if file is None:
        return os.environ.get("EDGELLM_API_KEY") or None
    try:
        key = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise BadInput(f"there is no key file {file}; write the server's key into it") from None
    except UnicodeDecodeError:
        key = ""
    if not key or len(key.split()) > 1:
        raise BadInput(f"{file} does not hold one key; write the server's key, and nothing else, into it")
    return key


def write_export(result: LoadBench, shape: str, path: Path) -> None:
    from edgellm.bench.load.guidellm_export import guidellm_report
    from edgellm.bench.load.vllm_export import vllm_result
    from edgellm.store.atomic import write_text

    document = vllm_result(result) if shape == "vllm" else guidellm_report(result)
    write_text(path, json.dumps(document, ensure_ascii=False) + "\n")
