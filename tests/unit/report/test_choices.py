"""Which types the report recommends, and for what."""

from __future__ import annotations

from demo_results import sample
from edgellm.records.results import FormatRow
from edgellm.records.statistics import Interval
from edgellm.report.choices import choices
from edgellm.report.html import render


def rung(type_name: str, size_bytes: int, low: float, high: float) -> FormatRow:
    row = sample().formats[0]
    ratio = Interval(value=(low + high) / 2, low=low, high=high)
    fidelity = row.fidelity.model_copy(update={"perplexity_ratio": ratio})
    return row.model_copy(update={"type": type_name, "size_bytes": size_bytes, "fidelity": fidelity})


ROWS = [
    rung("F16", 16, 1.00001, 1.00002), rung("Q8_0", 8, 0.9999, 1.0008), rung("Q6_K", 6, 0.9998, 1.002),
    rung("Q4_K_M", 4, 1.002, 1.007), rung("Q2_K", 2, 1.06, 1.08),
]  # fmt: skip


def chosen(rows: list[FormatRow], bundled: object) -> dict[str, str]:
    return {choice.reason: choice.row.type for choice in choices(rows, bundled)}


def test_quality_takes_the_smallest_type_whose_ratio_may_be_one() -> None:
    assert chosen(ROWS, "Q4_K_M") == {"quality": "Q6_K", "bundled": "Q4_K_M", "size": "Q2_K"}


def test_no_type_is_recommended_twice() -> None:
    assert chosen(ROWS, "Q6_K") == {"bundled": "Q6_K", "size": "Q2_K"}
    assert chosen(ROWS, "Q2_K") == {"quality": "Q6_K", "bundled": "Q2_K"}


def test_a_reason_that_no_type_meets_is_left_out() -> None:
    lossy = [row for row in ROWS if row.type in ("F16", "Q4_K_M", "Q2_K")]
    assert chosen(lossy, "Q5_K_M") == {"size": "Q2_K"}
    assert chosen([], "Q4_K_M") == {}


def test_the_report_gives_the_reason_with_its_numbers() -> None:
    html = render(sample(formats=ROWS))
    section = html[html.index("量子化の型の選び方") : html.index('id="fidelity"')]
    assert section.index("Q6_K") < section.index("Q4_K_M") < section.index("Q2_K")
    assert ">+7.0</data> %" in section  # Q2_K's perplexity
    assert "検証に合格しています。" in section
