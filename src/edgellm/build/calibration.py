"""`edgellm calibrate`: an importance matrix as a file of the user's."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgellm.build.pipeline import make_base
from edgellm.build.sources import weights_behind
from edgellm.errors import GateFailed, UsageError
from edgellm.inference.target import Target, resolve
from edgellm.stages import Progress
from edgellm.stages.calibrate import IMATRIX, calibrate
from edgellm.stages.calibration_text import NONE, check_sources, parse_sources
from edgellm.stages.coverage import CoverageRule, ExpertCoverage, check_coverage, coverage_of
from edgellm.store.atomic import file_aside
from edgellm.store.disk import filling
from edgellm.store.lock import claimed
from edgellm.store.work import WorkFolder


@dataclass(frozen=True)
class Calibrated:
    """What the matrix has seen. `shares`: by weight, the share of its matrices (experts; one for a dense weight) that
    saw at least one token."""

    tokens: int
    shares: dict[str, float]
    experts: ExpertCoverage


def write_imatrix(
    target: str, text: str | Sequence[str], out: Path, work: WorkFolder, progress: Progress | None = None,
    rule: CoverageRule | None = None,
) -> Calibrated:  # fmt: skip
    """Calibrate a target into the file `out`; raises GateFailed, which carries what was reached, and writes none if
    these are fewer experts than the rule requires."""
    rule = rule or CoverageRule()
    source = weights_behind(resolve(target), progress)
    sources = parse_sources(text)
    if NONE in [s.name for s in sources]:
        raise UsageError("there is nothing to calibrate on with the text none; leave it out")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the file to write")
    if out.exists() and any(
        p.exists() and out.samefile(p) for p in (*files_of(source), *(Path(s.name) for s in sources))
    ):
        raise UsageError(f"{out} is read for the calibration and would be overwritten; name another file")
    check_sources(sources)
    with claimed(out, f"the importance matrix {out}"):
        base = make_base(source, work, progress)
        made = calibrate(base.gguf, base.digest, base.tokenizer, text, work, progress)
        found = seen_by(made.folder / IMATRIX, rule.threshold)
        try:
            check_coverage(made.folder / IMATRIX, rule)
        except GateFailed as refused:
            raise GateFailed(str(refused), found) from None
        with filling(out, f"the importance matrix {out}"), file_aside(out) as aside:
            shutil.copyfile(made.folder / IMATRIX, aside)
    return found


def seen_by(path: Path, threshold: int) -> Calibrated:
    from edgellm.engines.gguf.imatrix import coverage
    from edgellm.engines.gguf.imatrix_file import read_imatrix

    imatrix = read_imatrix(path)
    # Every token passes once through each dense weight; through stacked experts it passes top-k times.
    tokens = min(int(entry.counts.sum()) for entry in imatrix.entries.values())
    return Calibrated(tokens, coverage(imatrix), coverage_of(path, threshold))


def files_of(source: Target) -> tuple[Path, ...]:
    """The files of a GGUF that is calibrated, all parts of it; of anything else its path."""
    if source.kind != "gguf":
        return (source.path,)
    from edgellm.engines.gguf.header import read_header

    return read_header(source.path).files
