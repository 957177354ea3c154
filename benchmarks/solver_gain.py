"""What choosing types by measured sensitivity is worth: stock mixtures against solved ones of the same size.

    python benchmarks/solver_gain.py [CHECKPOINT …] [--type Q4_K_M Q3_K_M] [--tokens 2048] [--layers 8] [--json FILE]

For tiny-ja, and each further checkpoint or GGUF: llama.cpp's mixture, and types chosen for a file of at most its size,
with the same importance matrix. Mean KL divergence against the f32 model on the verification text, which neither
calibration nor the choice has seen; the change is paired document by document, with a 95 % bootstrap over documents.
Ends with 1 if a change is not clearly below zero, or a solved file is larger than the stock one.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

from edgellm.build.goal import Goal
from edgellm.build.order import recipe_for
from edgellm.build.pipeline import Base, make_artifact, make_base
from edgellm.build.sources import source_of
from edgellm.cli.progress import progress_on_stderr
from edgellm.engines import open_runtime
from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.target import resolve
from edgellm.measures.fidelity import WINDOW_TOKENS, Document, Tally, kld_change, tallies
from edgellm.records.statistics import Interval
from edgellm.stages import Progress
from edgellm.stages.sensitivity import Effort
from edgellm.stages.verify import verification_documents
from edgellm.store.work import WorkFolder, default_root


@dataclass(frozen=True)
class Gain:
    """One row: a stock mixture and what was solved for its size."""

    target: str
    stock: str
    solved: str
    stock_bytes: int
    solved_bytes: int
    stock_kld: float
    solved_kld: float
    predicted_kld: float
    change: dict[str, float]  # of the mean KL divergence, with the ends of its interval

    @property
    def holds(self) -> bool:
        return self.change["high"] < 0 and self.solved_bytes <= self.stock_bytes


def mean_kld(tally: Tally) -> float:
    return sum(float(k.sum()) for k in tally.kld) / sum(map(len, tally.kld))


def gain(
    base: Base, stock: str, effort: Effort, documents: list[Document] | None = None, progress: Progress | None = None
) -> Gain:  # fmt: skip
    """Make both artifacts of a base and compare them on `documents` (all of the verification text)."""
    work, options = WorkFolder(default_root()), RuntimeOptions(context_tokens=WINDOW_TOKENS)
    mixture = make_artifact(base, "gguf", stock, {}, "shipped", work, progress=progress, allow_fallback=True)
    goal = Goal(size=mixture.artifact.stat().st_size)
    solved = make_artifact(base, "gguf", stock, {}, "shipped", work, progress=progress, goal=goal, effort=effort)
    with ExitStack() as opened:
        reference, *artifacts = [
            opened.enter_context(closing(open_runtime("gguf", path, options)))
            for path in (base.gguf, mixture.artifact, solved.artifact)
        ]
        found = tallies(
            reference, dict(zip(("stock", "solved"), artifacts, strict=True)),
            documents or verification_documents(base.tokenizer),
        )[1]  # fmt: skip
    assert solved.predicted_mean_kld is not None
    change: Interval = kld_change(found["stock"], found["solved"])
    return Gain(
        base.name, stock, solved.type, goal.size or 0, solved.artifact.stat().st_size, mean_kld(found["stock"]),
        mean_kld(found["solved"]), solved.predicted_mean_kld, change.model_dump(),
    )  # fmt: skip


def line(row: Gain) -> str:
    return (
        f"{row.target:<10} {row.stock:<7} {row.stock_bytes:>12,} bytes  KLD {row.stock_kld:.5f}   {row.solved:<15} "
        f"{row.solved_bytes:>12,} bytes  KLD {row.solved_kld:.5f} (predicted {row.predicted_kld:.5f})   change "
        f"{row.change['value']:+.5f} [{row.change['low']:+.5f}, {row.change['high']:+.5f}]  "
        f"{row.change['value'] / row.stock_kld:+.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="*")
    parser.add_argument("--type", nargs="+", default=["Q4_K_M", "Q3_K_M"])
    parser.add_argument("--tokens", type=int, default=Effort.tokens)
    parser.add_argument("--layers", type=int, default=Effort.layers)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for name in ("tiny-ja", *asked.checkpoint):
        target = resolve(name)
        with progress_on_stderr() as progress:
            base = make_base(source_of(target, recipe_for(target)), WorkFolder(default_root()), progress)
            effort = Effort(tokens=asked.tokens, layers=asked.layers)
            for stock in asked.type:
                rows.append(gain(base, stock, effort, progress=progress))
                print(line(rows[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    sys.exit(0 if all(row.holds for row in rows) else 1)


if __name__ == "__main__":
    main()
