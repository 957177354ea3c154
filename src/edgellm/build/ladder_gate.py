"""Which type of a ladder is good enough, and by which rule; in which order sizes and losses stand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edgellm.build.order import gate_of
from edgellm.build.pipeline import reasons
from edgellm.records.ladder import LadderRow
from edgellm.records.recipe import Gate, Recipe
from edgellm.records.results import Check, Fidelity
from edgellm.stages import verify
from edgellm.store import catalogue

LIMITS = {
    "max_mean_kld": "upper end of the mean KLD ≤ {:g}",
    "min_same_top_percent": "lower end of same top token ≥ {:g} %",
    "max_perplexity_ratio": "upper end of the perplexity ratio ≤ {:g}",
}


def gate_for(recipe: Recipe) -> tuple[Gate, str]:
    """The one gate that all types of a ladder are held to, and where it is from, in words.

    That of the recipe's own type says what the recipe asks of its bundle. A recipe without limits has the default
    recipe's.
    """
    own = recipe.quantization.type
    gate = gate_of(recipe, own)
    if gate is not None and limits(gate):
        name = own if own in recipe.gates else "default"
        return gate, f"[gates.{name}] of the recipe {recipe.name}"
    default = catalogue.load_recipe(catalogue.DEFAULT_RECIPE)
    return default.gates["default"], f"[gates.default] of the recipe default, since {recipe.name} sets no limit"


def limits(gate: Gate) -> list[str]:
    """The limits of a gate in words."""
    return [words.format(value) for key, words in LIMITS.items() if (value := getattr(gate, key)) is not None]


def rule_words(gate: Gate, gate_from: str) -> str:
    return (
        f"the smallest file that keeps {gate_from}, with the ends of its 95 % intervals ({', '.join(limits(gate))}), "
        "and that `quantize` would not refuse by the gate of its own type"
    )


def failures(found: Fidelity, type_name: str, gate: Gate, recipe: Recipe, checks: Sequence[Check]) -> list[str]:
    """Why a type does not pass, one sentence a check; empty where it does.

    checks: what else was checked of the artifact. `quantize` holds a type to the gate of its name, which may be
    stricter than the ladder's: what it would refuse to bundle cannot be recommended.
    """
    own = gate_of(recipe, type_name)
    failed = [c for c in (*checks, *verify.check_fidelity(found, gate)) if not c.passed]
    said = [reasons(verify.verdict_of([check])) for check in failed]
    if own is not None and own != gate:
        named = [c for c in verify.check_fidelity(found, own) if not c.passed and c.limit is not None]
        said += [f"by the gate of {type_name} itself {reasons(verify.verdict_of([check]))}" for check in named]
    return said


def recommended(rows: Sequence[LadderRow]) -> str | None:
    passing = [row for row in rows if row.passes]
    return min(passing, key=lambda row: row.size_bytes).type if passing else None


def is_monotone(rows: Sequence[LadderRow]) -> bool:
    """Whether each row is a larger file than the one before, and loses less."""
    return all(a.size_bytes < b.size_bytes and a.mean_kld.value > b.mean_kld.value for a, b in pairwise(rows))


def disorder(rows: Sequence[LadderRow]) -> list[str]:
    """Neighbouring types, in the order of `rows`, of which the one of more bits is no larger or no better."""
    said = []
    for a, b in pairwise(rows):
        sizes = f"{a.size_bytes:,} and {b.size_bytes:,} bytes"
        losses = f"mean KLD {a.mean_kld.value:.3g} and {b.mean_kld.value:.3g}"
        if b.size_bytes <= a.size_bytes:
            said.append(f"{b.type} is no larger than {a.type} ({sizes}; {losses})")
        elif b.mean_kld.value >= a.mean_kld.value:
            said.append(f"{b.type} is larger than {a.type} and loses no less ({sizes}; {losses})")
    return said
