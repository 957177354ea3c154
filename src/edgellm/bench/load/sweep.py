"""More and more load, until more brings no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from edgellm.bench.load.generator import Run
from edgellm.bench.load.measures import keeps, step_of
from edgellm.bench.load.plan import Load
from edgellm.records.bench import LoadStep

GROWTH = 0.05  # a step that brings less than so much more is beyond the knee
KEPT_SHARE = 0.9  # of the requests that must keep the SLO, or it is broken
MOST_STEPS = 14


@dataclass
class Sweep:
    """The steps so far. `knee` is the label of the last step that brought more than the one before it."""

    steps: list[LoadStep] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    knee: str | None = None
    why: str = ""

    @property
    def best(self) -> int:
        """Index of the step with the highest yield."""
        return max(range(len(self.steps)), key=lambda at: yielded(self.steps[at]))


def yielded(step: LoadStep) -> float:
    """What a sweep maximizes: goodput under an SLO, else output tokens (or, uncounted, characters) a second."""
    if step.goodput_per_s is not None:
        return step.goodput_per_s
    return step.output_characters_per_s if step.output_tokens_per_s is None else step.output_tokens_per_s


def kept_share(run: Run, slo_ms: Mapping[str, float]) -> float:
    """Of all requests sent, those answered whole and within every limit."""
    good = sum(1 for record in run.records if record.status == "ok" and keeps(record, slo_ms))
    return good / max(1, len(run.records))


async def sweep(load: Load, slo_ms: Mapping[str, float], run: Callable[[Load], Awaitable[Run]]) -> Sweep:
    """Double the load until the yield grows by less than `GROWTH`, the SLO breaks, or most requests fail."""
    found = Sweep()
    while True:
        done = await run(load)
        found.runs.append(done)
        found.steps.append(step_of(done, slo_ms))
        found.why = over(found, kept_share(done, slo_ms))
        if found.why:
            return found
        found.knee = load.label
        load = load.doubled()


def over(found: Sweep, kept: float) -> str:
    """Why the sweep is over after its last step; empty while it is not."""
    step = found.steps[-1]
    if kept < KEPT_SHARE:
        limits = "were answered" if step.goodput_per_s is None else "kept the SLO"
        return f"at {step.label} only {kept:.0%} of the requests {limits}"
    if len(found.steps) > 1 and yielded(step) < (1 + GROWTH) * yielded(found.steps[-2]):
        return f"{step.label} brought less than {GROWTH:.0%} more than {found.steps[-2].label}"
    if len(found.steps) == MOST_STEPS:
        return f"{MOST_STEPS} steps, and each brought more"
    return ""
