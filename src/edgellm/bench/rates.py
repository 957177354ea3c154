"""From seconds to figures: rates, and what share of the machine's ceilings they are."""

from __future__ import annotations

from collections.abc import Sequence

from edgellm.bench.energy import joules_above_idle
from edgellm.bench.engine import Case, Timed
from edgellm.measures.statistics import spread
from edgellm.measures.traffic import Shape, bytes_of_pass, flops_of_prompt
from edgellm.records.bench import Ceilings, EngineTest


def rows_of(timed: Sequence[Timed], shape: Shape | None, ceilings: Ceilings | None) -> list[EngineTest]:
    """One row a case. `shape` None: what has to be read and computed is not known. `ceilings` None: not measured."""
    return [row_of(each, shape, ceilings) for each in timed]


def row_of(timed: Timed, shape: Shape | None, ceilings: Ceilings | None) -> EngineTest:
    case = timed.case
    rate = spread([case.all_tokens / s for s in timed.seconds])
    per_token = joules_per_token(timed)
    characters = timed.characters_per_token
    bytes_per_token = bytes_of_token(shape, case) if shape and case.kind == "tg" else None
    flops_per_token = flops_of_prompt(shape, case.tokens, case.depth) / case.tokens if shape else None
    flops_per_s = rate.median * flops_per_token if flops_per_token and case.kind == "pp" else None
    return EngineTest(
        test=case.name,
        kind=case.kind,
        tokens=case.tokens,
        depth=case.depth,
        parallel=case.parallel,
        tokens_per_s=rate,
        first_run_tokens_per_s=case.all_tokens / timed.first_s,
        seconds=timed.seconds,
        characters_per_s=None if characters is None else rate.median * characters,
        joules_per_token=per_token,
        joules_per_character=per_token / characters if per_token is not None and characters else None,
        bytes_per_token=bytes_per_token,
        bandwidth_fraction=share(
            bytes_per_token and bytes_per_token * rate.median,
            ceilings.memory_bandwidth_bytes_per_s if ceilings else None,
        ),
        flops_per_s=flops_per_s,
        flops_fraction=share(flops_per_s, ceilings.flops_per_s if ceilings else None),
    )


def bytes_of_token(shape: Shape, case: Case) -> float:
    """What a decode step has to read for each token of it: a pass of one token a sequence, weights read once."""
    return bytes_of_pass(shape, case.parallel, case.parallel, case.mean_depth) / case.parallel


def joules_per_token(timed: Timed) -> float | None:
    joules = joules_above_idle(timed.energy)
    return None if joules is None else joules / (timed.case.all_tokens * len(timed.seconds))


def share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
