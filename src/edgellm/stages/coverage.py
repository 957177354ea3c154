"""Did calibration reach every expert? What no token reached is quantized as if every input mattered alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgellm.errors import GateFailed
from edgellm.records.results import Check, Verdict

THRESHOLD_TOKENS = 64
NAMED = 20  # experts that a sentence lists


@dataclass(frozen=True)
class CoverageRule:
    """`threshold`: tokens from which an expert counts as reached; `required`: share of experts, None asks for none."""

    threshold: int = THRESHOLD_TOKENS
    required: float | None = None


@dataclass(frozen=True)
class ExpertCoverage:
    """`tokens`: by layer, the calibration tokens routed to each expert; empty for a dense model."""

    tokens: Mapping[int, Sequence[int]]
    threshold: int

    @property
    def experts(self) -> int:
        return sum(map(len, self.tokens.values()))

    @property
    def missed(self) -> list[tuple[int, int, int]]:
        """(layer, expert, tokens) of those under the threshold."""
        return [(n, e, c) for n, found in self.tokens.items() for e, c in enumerate(found) if c < self.threshold]

    @property
    def share(self) -> float:
        """Of experts that were reached; 1 where there are none to reach."""
        return 1 - len(self.missed) / self.experts if self.experts else 1.0

    @property
    def words(self) -> str:
        missed = self.missed
        named = ", ".join(f"layer {layer} expert {expert} ({tokens})" for layer, expert, tokens in missed[:NAMED])
        if not missed:
            return f"each of {self.experts:,} experts saw {self.threshold} tokens or more"
        more = f" and {len(missed) - NAMED:,} more" if len(missed) > NAMED else ""
        return f"{len(missed):,} of {self.experts:,} experts saw fewer than {self.threshold} tokens: {named}{more}"


def coverage_of(imatrix: Path, threshold: int = THRESHOLD_TOKENS) -> ExpertCoverage:
    """Read from the matrix itself, so that a reused one says the same."""
    from edgellm.engines.gguf.imatrix import expert_tokens
    from edgellm.engines.gguf.imatrix_file import read_imatrix

    return ExpertCoverage(expert_tokens(read_imatrix(imatrix)), threshold)


def check_coverage(imatrix: Path, rule: CoverageRule) -> tuple[Check, ...]:
    """A line of the verdict for a model with experts; raises GateFailed where more coverage was required."""
    found = coverage_of(imatrix, rule.threshold)
    if not found.experts:
        return ()
    passed = rule.required is None or found.share >= rule.required
    check = Check(
        name="expert coverage", passed=passed, value=found.share, limit=rule.required, detail=found.words
    )  # fmt: skip
    if not passed:
        raise GateFailed(
            f"calibration reached {found.share:.1%} of the experts where {rule.required:.1%} are required "
            f"({found.words}); give more or other calibration text",
            Verdict(passed=False, checks=[check]),
        )
    return (check,)
