"""Options of verbs that ask a judge about answers that are there already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.eval_asking import PARALLEL, Asking, judge_options
from edgellm.cli.option_groups import option_group

if TYPE_CHECKING:
    from edgellm.build.eval_models import Asked


@dataclass(frozen=True)
class Judging:
    """Who judges; None: nobody."""

    judge: str | None
    judge_model: str | None
    judge_api_key_file: Path | None
    context: int
    threads: int
    parallel: int | None

    @property
    def concurrency(self) -> int:
        return self.parallel or PARALLEL

    def asked(self) -> Asked | None:
        """Raises UsageError for options of a judge where there is none."""
        return Asking(
            None, None, None, self.judge, self.judge_model, self.judge_api_key_file, self.context, self.threads,
            self.parallel,
        ).judging()  # fmt: skip


judging_options = option_group("judging", Judging, [
    *judge_options("Who judges: a server's address, or a model that is loaded here."),
    click.option(
        "--parallel", type=click.IntRange(1), metavar="N", show_default=str(PARALLEL),
        help="Judgments that are asked for at once.",
    ),
])  # fmt: skip
