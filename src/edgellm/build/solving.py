"""Types for every group of tensors, chosen for the least predicted divergence within a size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.build.goal import Goal
from edgellm.engines.gguf.imatrix_file import read_imatrix
from edgellm.engines.gguf.tensor_groups import Layout, layout_of
from edgellm.engines.gguf.types import FILE_TYPES
from edgellm.errors import EngineFailed, UsageError
from edgellm.measures.allocation import Option, allocate
from edgellm.records.sensitivity import Choice, GroupSensitivity, Sensitivity, Solution
from edgellm.stages import Progress, versions_of
from edgellm.stages.sensitivity import SENSITIVITY, Effort, measure_sensitivity
from edgellm.store.atomic import write_text
from edgellm.store.disk import amount
from edgellm.store.work import Made, WorkFolder

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer

STAGE_VERSION = "1"
SOLUTION = "solution.json"


@dataclass(frozen=True)
class Solved:
    solution: Solution
    file: Path
    steps: tuple[Made, ...]

    @property
    def tensor_types(self) -> dict[str, str]:
        """Pattern → type, one for each tensor that the quantizer would touch."""
        return {f"^{re.escape(name)}$": type_name for name, type_name in self.solution.tensor_types.items()}


def choose_types(
    base: Path, base_digest: str, tokenizer: Tokenizer, goal: Goal, tensor_types: Mapping[str, str],
    calibration: str | Sequence[str], imatrix: Path | None, work: WorkFolder, progress: Progress | None = None,
    effort: Effort | None = None,
) -> Solved:  # fmt: skip
    """Measure what each type costs each group of a base GGUF, and choose types for the goal; see `solve`.

    tensor_types: pattern → type of tensors that are not to be chosen. The choice and its reasons are `solution.json`
    of a step of its own.
    """
    layout = layout_of(base, read_imatrix(imatrix) if imatrix else None, tensor_types)
    measured = measure_sensitivity(
        base, base_digest, tokenizer, calibration, imatrix, layout, work, progress, effort
    )  # fmt: skip

    def make(folder: Path) -> None:
        found = Sensitivity.model_validate_json((measured.folder / SENSITIVITY).read_text(encoding="utf-8"))
        write_text(folder / SOLUTION, solve(base, layout, found, goal).model_dump_json(indent=1) + "\n")

    settings = {"goal": goal.words, "most_bytes": most_bytes(base, layout, goal), "rest_bytes": layout.rest_bytes}
    settings |= {"fixed": layout.fixed}
    versions = versions_of() | {"stage": STAGE_VERSION}
    made = work.step("solve", {"sensitivity": f"step:{measured.step.key}"}, settings, versions, make)
    solution = Solution.model_validate_json((made.folder / SOLUTION).read_text(encoding="utf-8"))
    return Solved(solution, made.folder / SOLUTION, (measured, made))


def check_size(solution: Solution, artifact: Path) -> None:
    """Raise EngineFailed if the file that was made is larger than the size that its types were chosen for."""
    size_bytes = artifact.stat().st_size
    if size_bytes > solution.most_bytes:
        raise EngineFailed(
            f"{artifact} takes {size_bytes:,} bytes where {solution.size_bytes:,} were planned and "
            f"{solution.most_bytes:,} are the most ({solution.asked}); report it, and ask for a smaller size"
        )


def most_bytes(base: Path, layout: Layout, goal: Goal) -> int:
    return goal.most_bytes(base, layout.parameters, layout.rest_bytes - layout.rest_tensor_bytes)


def solve(base: Path, layout: Layout, sensitivity: Sensitivity, goal: Goal) -> Solution:
    """The types that lose least within the goal; raises UsageError, with the smallest size, where none are so small.

    A size that is larger than the largest file is refused too: it is most likely a slip.
    """
    groups = sensitivity.groups
    most = most_bytes(base, layout, goal)
    smallest, largest = (layout.rest_bytes + sum(pick(c.bytes for c in g.types) for g in groups) for pick in (min, max))
    picked = allocate([[Option(c.bytes, c.kld) for c in g.types] for g in groups], most - layout.rest_bytes)
    if picked is None:
        raise UsageError(
            f"{goal.words} leaves {amount(max(most, 0))} for the file, and the smallest that can be made of {base} "
            f"takes {size_words(smallest, layout)}; ask for at least that"
        )
    if most > largest and goal.device is None:
        raise UsageError(
            f"{goal.words} is more than the largest quantized file of {base} takes, {size_words(largest, layout)}; ask "
            f"for something between that and the smallest, {size_words(smallest, layout)}, or leave the size out"
        )
    choices = [choice(group, place) for group, place in zip(groups, picked, strict=True)]
    tensor_bytes = sum(g.tensor_bytes(c.type) for g, c in zip(layout.groups, choices, strict=True))
    return Solution(
        asked=goal.words,
        file_type=nearest_file_type(layout, choices),
        most_bytes=most,
        size_bytes=layout.rest_bytes + sum(c.bytes for c in choices),
        bits_per_weight=8 * (layout.rest_tensor_bytes + tensor_bytes) / layout.parameters,
        predicted_mean_kld=sum(c.predicted_kld for c in choices),
        measured_on_tokens=sensitivity.tokens,
        choices=choices,
        fixed=layout.fixed,
    )


def size_words(size_bytes: int, layout: Layout) -> str:
    bits = 8 * (size_bytes - layout.rest_bytes + layout.rest_tensor_bytes) / layout.parameters
    return f"{size_bytes:,} bytes ({bits:.2f} bits per weight)"


def choice(group: GroupSensitivity, place: int) -> Choice:
    taken = group.types[place]
    return Choice(
        group=group.name, tensors=group.tensors, type=taken.type, bytes=taken.bytes, predicted_kld=taken.kld,
        measured=taken.measured, others=[c for c in group.types if c.type != taken.type],
    )  # fmt: skip


def nearest_file_type(layout: Layout, choices: Sequence[Choice]) -> str:
    """The file type that a mixture is nearest to, for the header: that of the tensor type that most weights have."""
    count: Counter[str] = Counter()
    for group, chosen in zip(layout.groups, choices, strict=True):
        count[chosen.type] += sum(t.weights for t in group.tensors)
    nearest = min(count, key=lambda name: (-count[name], name))
    return next(f.name for f in FILE_TYPES.values() if f.default == nearest)
