"""Programs that work the reference answers out of the questions' own text, one module a category or half of one."""

from __future__ import annotations

from edgellm.evals.mt_bench_ja.references import (
    extraction,
    extraction_documents,
    mathematics,
    reasoning,
    reasoning_plans,
)
from edgellm.evals.mt_bench_ja.references.facts import Compute

# By question and turn. An answer is what its checks expect; of several checks of one turn, a tuple in their order.
PROGRAMS: dict[tuple[str, int], Compute] = {
    place: program
    for module in (extraction, extraction_documents, mathematics, reasoning, reasoning_plans)
    for place, program in module.ANSWERS.by_turn.items()
}
