"""Whether an answer ends in a number: the one that it states, not one that it passes through."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from edgellm.evals.checkers.amounts import Amount, amounts, of_family
from edgellm.evals.checkers.outcome import Checked, broken, missed, needed, passed
from edgellm.evals.checkers.statement import conclusions, narrow, plain, stated

_SCALES = {"千": 1000, "万": 10**4, "億": 10**8, "兆": 10**12}
_NOT_THIS = re.compile(r"^.*(?:では?なく|ではありません|の?ではない)(?:て)?、?")
_BRACKETS = re.compile(r"\([^()]*\)|（[^（）]*）|「[^「」]*」")
_BEFORE_RESULT = re.compile(r"^.*(?:=|≒|≈|→|⇒)")
_ALTERNATIVES = re.compile(r"または|もしくは|あるいは|それとも|\bor\b")
_FOLLOWS = re.compile(r"次の|以下|下記|上記|とおり|通り|[:：]$")
_LEAD = re.compile(r"[\s約およそおおよそほぼちょうど計合:：は¥$、]*")


def check_number(spec: Mapping[str, Any], answer: str) -> Checked:
    """`value` within `tolerance`, both decimal numbers or fractions as strings; `unit` tells among several numbers,
    and other units of the same kind (90分 for 1.5時間, 12万円 for 120000円) are converted."""
    expected, tolerance = _exact(spec, "value"), _exact(spec, "tolerance", "0")
    unit = narrow(str(spec.get("unit", ""))).strip().replace("^", "")
    text = plain(answer)
    amount = final_amount(text, unit)
    if amount is None:
        return missed("it states no single number")
    if any(abs(one - expected) <= tolerance for one in readings(amount, unit)):
        return passed()
    return missed(f"it states {_shown(amount.value)}{amount.unit()}, not {spec['value']}{unit}")


def readings(amount: Amount, unit: str) -> list[Fraction]:
    """What the amount is in the unit: usually one number, or none where its own unit is of another kind."""
    scale = next((factor for name, factor in _SCALES.items() if unit.startswith(name) and len(unit) > 1), 1)
    base = unit[1:] if scale > 1 else unit
    own, family = amount.unit(), of_family(base)
    if scale > 1:
        return [amount.value / scale] if own == base else [amount.value, amount.value / scale] if not own else []
    if own in family and own != base:
        return [amount.value * family[own] / family[base]]
    if not base and own in of_family("%"):  # 25% for 0.25, and for 25 too where no unit was given
        return [amount.value * of_family("%")[own]]
    if base in of_family("%") and not own:
        return [amount.value]
    if base and own and own != base and not amount.has(base):
        return []
    return [amount.value]


def final_amount(text: str, unit: str = "") -> Amount | None:
    """The number that a text without Markdown comes to; None where it states none, a range or alternatives."""
    said = stated(text)
    if said is not None:
        first = said.split("。")[0]
        for segment in (first, said):
            found = _in_segment(segment, unit, marked=True)
            if found:
                return _single(found, segment)
        if not _FOLLOWS.search(said):  # 「答えは次のとおりです」: what follows says it
            return None
    ranked = conclusions(text)
    for wants_unit in (True, False) if unit else (False,):
        for segment in ranked:
            found = _in_segment(segment, unit, marked=False)
            if found and (not wants_unit or _fits(found[-1], unit)):
                return _single(found, segment)
    return None


def _in_segment(segment: str, unit: str, *, marked: bool) -> list[Amount]:
    """The numbers of a sentence that may be its result, the likeliest last."""
    segment = _NOT_THIS.sub("", segment)
    without = _BRACKETS.sub(lambda part: " " * len(part[0]), segment)
    if amounts(without, _bare_unit(unit)):
        segment = without
    after = _BEFORE_RESULT.sub("", segment)
    if amounts(after, _bare_unit(unit)):
        segment = after
    found = amounts(segment, _bare_unit(unit))
    if marked and found and _LEAD.fullmatch(segment[: found[0].start]) and not _ALTERNATIVES.search(segment):
        # 「答え：360円、1人あたり120円」: what stands at once behind the mark is the answer.
        first = [one for one in found if one.start == found[0].start or one.of_range]
        if not unit or _fits(found[0], unit) or not found[0].unit():
            return first
    fitting = [one for one in found if _fits(one, unit)]
    return fitting or found


def _single(found: Sequence[Amount], segment: str) -> Amount | None:
    chosen = found[-1]
    if chosen.of_range or (_ALTERNATIVES.search(segment) and len({one.value for one in found}) > 1):
        return None
    return chosen


def _bare_unit(unit: str) -> str:
    return unit[1:] if len(unit) > 1 and unit[0] in _SCALES else unit


def _fits(amount: Amount, unit: str) -> bool:
    base = _bare_unit(unit)
    return not base or amount.has(base) or (amount.unit() in of_family(base) and amount.unit() != "")


def _exact(spec: Mapping[str, Any], name: str, default: str | None = None) -> Fraction:
    value = spec.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        needed(spec, name, str)
    try:
        return Fraction(str(value).replace(",", ""))
    except (ValueError, ZeroDivisionError) as error:
        raise broken(spec, f"its `{name}` {value!r} is no number") from error


def _shown(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"{float(value):.10g}"
