"""Options of `eval run`: whom to ask, and who judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgellm.cli.option_groups import option_group
from edgellm.cli.verb import context_option, threads_option
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.build.eval_models import Asked
    from edgellm.engines.protocol import RuntimeOptions

FILE = click.Path(dir_okay=False, path_type=Path)
SCHEMES = ("http://", "https://")
PARALLEL = 4  # requests at once, where nothing else is said


@dataclass(frozen=True)
class Asking:
    """Whom to ask, and who judges."""

    url: str | None
    model: str | None
    api_key_file: Path | None
    judge: str | None
    judge_model: str | None
    judge_api_key_file: Path | None
    context: int
    threads: int
    parallel: int | None

    @property
    def judges_here(self) -> bool:
        return self.judge is not None and not self.judge.startswith(SCHEMES)

    def asked(self, target: str | None) -> Asked:
        """Raises UsageError unless there is either a TARGET or a URL, and for options of the other."""
        from edgellm.build.eval_models import Asked
        from edgellm.cli.load_bench import api_key

        if (target is None) == (self.url is None):
            raise UsageError("eval run takes either a TARGET, which is loaded here, or --url of a server to ask")
        if self.url is None:
            assert target is not None
            if self.model is not None or self.api_key_file is not None:
                raise UsageError("--model and --api-key-file are for --url, not for a TARGET; leave them out")
            return Asked(target, options=self.runtime(self.parallel or PARALLEL))
        if not self.url.startswith(SCHEMES):
            raise UsageError(f"--url {self.url} is no address; it must begin with http:// or https://")
        if (self.context or self.threads or self.parallel) and not self.judges_here:
            raise UsageError("--context, --threads and --parallel are for a TARGET, not for --url; leave them out")
        return Asked(self.url, self.model, api_key(self.api_key_file))

    def judging(self) -> Asked | None:
        from edgellm.build.eval_models import Asked
        from edgellm.cli.load_bench import api_key

        if self.judge is None:
            if self.judge_model is not None or self.judge_api_key_file is not None:
                raise UsageError("--judge-model and --judge-api-key-file are of a judge; name it with --judge")
            return None
        key = api_key(self.judge_api_key_file) if self.judge_api_key_file else None
        if key is not None and self.judges_here:
            raise UsageError("--judge-api-key-file is for a judge behind a URL; leave it out")
        return Asked(self.judge, self.judge_model, key, self.runtime(self.parallel or PARALLEL))

    def runtime(self, sequences: int) -> RuntimeOptions:
        """Answers shall not differ by the company that they are computed in."""
        from edgellm.engines.protocol import RuntimeOptions

        return RuntimeOptions(self.context, sequences, self.threads, batch_invariant=True)


def judge_options(who: str) -> list[Callable[[Any], Any]]:
    """`who` is the help of `--judge`."""
    return [
        click.option("--judge", metavar="URL|TARGET", help=who),
        click.option(
            "--judge-model", metavar="NAME", show_default="the first that the server lists", help="Who judges there."
        ),
        click.option(
            "--judge-api-key-file", type=FILE, metavar="FILE", help="File with the key for the judge's server."
        ),
        context_option,
        threads_option,
    ]  # fmt: skip


asking_options = option_group("asking", Asking, [
    click.option("--url", metavar="URL", help="Ask the OpenAI-compatible server there, instead of loading a TARGET."),
    click.option("--model", metavar="NAME", show_default="the first that the server lists", help="Whom to ask there."),
    click.option(
        "--api-key-file", type=FILE, metavar="FILE",
        help="File with the key for the server; else the variable EDGELLM_API_KEY is sent, if there is one.",
    ),
    *judge_options("Who judges, for suites that need a judge: a server's address, or a model that is loaded here."),
    click.option(
        "--parallel", type=click.IntRange(1), metavar="N", show_default=str(PARALLEL),
        help="Answers that a TARGET computes at once.",
    ),
])  # fmt: skip
