"""Base artifact, importance matrix and text → how much each group of tensors suffers from each type.

Each group alone is put through a type and the divergence from the base is measured, the rest staying as it is. What
is measured and what follows from it, so that large models take bearable time (docs/design/solver.md):

- of the layers in which a role has the same shapes at most `Effort.layers`, the first and the last among them; the
  others lie on the line between their neighbours;
- of each group the types in `Effort.anchors`; the others follow from the share of the weights' energy that they lose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edgellm.engines.protocol import RuntimeOptions
from edgellm.measures import sensitivity as measures
from edgellm.records.sensitivity import GroupSensitivity, Sensitivity, TypeCost
from edgellm.stages import Progress, Report, labelled, told, versions_of
from edgellm.stages.calibration_text import NONE, SELF, SHIPPED, Source, parse_sources, sampled
from edgellm.store import digest
from edgellm.store.atomic import write_text
from edgellm.store.work import Made, WorkFolder

if TYPE_CHECKING:
    from edgellm.engines.gguf.imatrix_file import Floats
    from edgellm.engines.gguf.rounding import RoundedCopy
    from edgellm.engines.gguf.tensor_groups import Layout, TensorGroup
    from edgellm.language.tokenizer import Tokenizer

STAGE_VERSION = "2"
SENSITIVITY = "sensitivity.json"
WINDOW_TOKENS = 256
LABEL = "measure sensitivity"


@dataclass(frozen=True)
class Effort:
    """How much is measured; the rest follows from it."""

    tokens: int = 2048  # at most about
    layers: int = 8  # of each role
    # The types that are tried; the smallest one where none of them fits a group.
    anchors: tuple[str, ...] = ("Q4_K", "Q3_K", "Q5_0", "IQ4_NL")


def sensitivity_windows(calibration: str | Sequence[str], tokenizer: Tokenizer, tokens: int) -> list[list[int]]:
    """About `tokens` tokens of calibration text, in windows from all over it and from each source by its weight.

    Without a text, or with none but what the model itself writes: of the text that ships.
    """
    sources = [s for s in parse_sources(calibration) if s.name not in (SELF, NONE)]
    return sampled(sources or [Source(SHIPPED)], tokenizer, tokens, WINDOW_TOKENS)


def measure_sensitivity(
    base: Path, base_digest: str, tokenizer: Tokenizer, calibration: str | Sequence[str], imatrix: Path | None,
    layout: Layout, work: WorkFolder, progress: Progress | None = None, effort: Effort | None = None,
) -> Made:  # fmt: skip
    """Measure the groups of `layout` in a base GGUF into `sensitivity.json`, a `records.sensitivity.Sensitivity`.

    calibration: names the text, as for `calibrate`. imatrix: a GGUF importance matrix, which the types that take one
    use.
    """
    effort = effort or Effort()
    windows = sensitivity_windows(calibration, tokenizer, effort.tokens)
    inputs = {"base": base_digest, "text": digest.of_value(windows)}
    if imatrix is not None:
        inputs["imatrix"] = digest.of_file(imatrix)
    settings = asdict(effort) | {"groups": {g.name: list(g.types) for g in layout.groups}}

    def make(folder: Path) -> None:
        from edgellm.engines.gguf.imatrix_file import read_imatrix

        values = read_imatrix(imatrix).values() if imatrix else {}
        with labelled(progress, LABEL) as on_progress, TemporaryDirectory(dir=folder) as scratch:
            found = measured(base, values, layout, windows, Path(scratch), effort, on_progress)
        write_text(folder / SENSITIVITY, found.model_dump_json(indent=1) + "\n")

    versions = versions_of("llama-cpp-python") | {"stage": STAGE_VERSION}
    return told(progress, LABEL, work.step("sensitivity", inputs, settings, versions, make))


def measured(
    base: Path, values: Mapping[str, Floats], layout: Layout, windows: Sequence[Sequence[int]], scratch: Path,
    effort: Effort, on_progress: Report | None,
) -> Sensitivity:  # fmt: skip
    from edgellm.engines import open_runtime
    from edgellm.engines.gguf.rounding import RoundedCopy

    options = RuntimeOptions(context_tokens=WINDOW_TOKENS)
    with closing(open_runtime("gguf", base, options)) as runtime:
        reference = measures.Reference.of(runtime, windows, scratch)
    sampled = sampled_groups(layout.groups, effort.layers)
    costs: dict[str, dict[str, TypeCost]] = {}
    with RoundedCopy(base, scratch, values) as trial:

        def tried(group: TensorGroup, type_name: str) -> tuple[float, float]:
            error = trial.round(group.names, type_name)
            with closing(open_runtime("gguf", trial.path, options)) as runtime:
                return error, reference.mean_kld(runtime)

        for done, group in enumerate(sampled):
            costs[group.name] = costs_of(group, effort.anchors, tried, trial)
            trial.restore(group.names)
            if on_progress:
                on_progress(done + 1, len(sampled))
    for group in layout.groups:
        if group.name not in costs:
            costs[group.name] = neighbours_costs(group, sampled, costs)
    found = [GroupSensitivity(name=g.name, tensors=g.names, types=list(costs[g.name].values())) for g in layout.groups]
    return Sensitivity(tokens=reference.tokens, groups=found)


def sampled_groups(groups: Sequence[TensorGroup], layers: int) -> list[TensorGroup]:
    """Of each role in at most `layers` layers, the first and the last among them."""
    roles: dict[str, list[TensorGroup]] = {}
    for group in groups:
        roles.setdefault(group.role, []).append(group)
    chosen = {same[i].name for same in roles.values() for i in measures.spread_places(len(same), layers)}
    return [g for g in groups if g.name in chosen]


def costs_of(
    group: TensorGroup, anchors: Sequence[str], tried: Callable[[TensorGroup, str], tuple[float, float]],
    trial: RoundedCopy,
) -> dict[str, TypeCost]:  # fmt: skip
    """Every type of one group: measured for the anchors, from the curve through them for the others."""
    trials = [name for name in group.types if name in anchors] or [group.types[-1]]
    errors, klds = {}, {}
    for name in group.types:
        if name in trials:
            errors[name], klds[name] = tried(group, name)
        else:
            errors[name] = trial.loss(group.names, name)
    curve = measures.measured_curve(errors, klds)
    return {
        name: TypeCost(type=name, bytes=group.size_bytes(name), kld=curve[name], measured=name in klds)
        for name in group.types
    }


def neighbours_costs(
    group: TensorGroup, sampled: Sequence[TensorGroup], costs: Mapping[str, Mapping[str, TypeCost]]
) -> dict[str, TypeCost]:  # fmt: skip
    """Every type of a group in a layer that was left out, from the same role in the layers beside it."""
    same = {g.layer: costs[g.name] for g in sampled if g.role == group.role and g.layer is not None}
    assert group.layer is not None  # what stands outside the layers is never left out
    return {
        name: TypeCost(
            type=name, bytes=group.size_bytes(name), measured=False,
            kld=measures.between({layer: known[name].kld for layer, known in same.items()}, group.layer),
        )
        for name in group.types
        if all(name in known for known in same.values())
    }  # fmt: skip
