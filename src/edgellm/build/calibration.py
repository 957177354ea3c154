"""`edgellm calibrate`: an importance matrix as a file of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgellm.build.order import recipe_for, source_of
from edgellm.build.pipeline import make_base
from edgellm.errors import UsageError
from edgellm.inference.target import resolve
from edgellm.stages import Progress
from edgellm.stages.calibrate import IMATRIX, calibrate, calibration_documents
from edgellm.store.atomic import file_aside
from edgellm.store.disk import filling
from edgellm.store.lock import claimed
from edgellm.store.work import WorkFolder


def write_imatrix(
    target: str, text: str, out: Path, work: WorkFolder, progress: Progress | None = None
) -> tuple[int, dict[str, float]]:
    """Calibrate a target into the file `out`; gives the tokens seen and the coverage of each weight.

    Coverage is the share of a weight's matrices (experts; one for a dense weight) that saw at least one token.
    """
    from edgellm.engines.gguf.imatrix import coverage
    from edgellm.engines.gguf.imatrix_file import read_imatrix

    named = resolve(target)
    source = source_of(named, recipe_for(named))
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the file to write")
    if out.exists() and any(p.exists() and out.samefile(p) for p in (source.path, Path(text))):
        raise UsageError(f"{out} is read for the calibration and would be overwritten; name another file")
    if text != "self":
        calibration_documents(text)
    with claimed(out, f"the importance matrix {out}"):
        base = make_base(source, work, progress)
        made = calibrate(base.gguf, base.digest, base.tokenizer, text, work, progress)
        with filling(out, f"the importance matrix {out}"), file_aside(out) as aside:
            shutil.copyfile(made.folder / IMATRIX, aside)
    imatrix = read_imatrix(out)
    # Every token passes once through each dense weight; through stacked experts it passes top-k times.
    tokens = min(int(entry.counts.sum()) for entry in imatrix.entries.values())
    return tokens, coverage(imatrix)
