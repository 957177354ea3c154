"""The predictor against the speeds that others published, with and without the device in the fit."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edgellm.errors import BadRecipe, GateFailed
from edgellm.measures.prediction_fit import left_out_errors
from edgellm.measures.published import Row, rows
from edgellm.records.device import PublishedSpeed
from edgellm.records.plan import CheckedPrediction, Errors, PredictionCheck
from edgellm.store.catalogue import load_devices, load_published

LIMIT = 0.2  # of the median error


def published_rows() -> list[Row]:
    """Every published speed of every device file; raises BadRecipe for one of a model or type that is not described."""
    try:
        return rows(load_devices(), load_published())
    except KeyError as error:
        raise BadRecipe(f"checks/published.toml describes no {error.args[0]}, which a device file names") from None


def check_predictions() -> PredictionCheck:
    """Some seconds: for every device the constants are fitted again without it."""
    found, published = published_rows(), load_published()
    left_out = left_out_errors(found)
    checked = tuple(checked_row(row, left_out.get(number)) for number, row in enumerate(found))
    return PredictionCheck(
        rows=checked, unmodelled=published.apart,
        decode=errors([row for row in checked if row.test.startswith("tg")]),
        prefill=errors([row for row in checked if row.test.startswith("pp")]), together=errors(checked),
    )  # fmt: skip


def checked_row(row: Row, left_out: float | None) -> CheckedPrediction:
    speed = row.speed
    return CheckedPrediction(
        device=row.device.name, model=speed.model, type=speed.type, test=test_name(speed), measured=speed.tokens_per_s,
        predicted=row.predicted(), error=row.error(), left_out_error=left_out, counts=row.counts,
        why_apart=speed.apart, mark=speed.mark, source=speed.source, note=speed.note,
    )  # fmt: skip


def test_name(speed: PublishedSpeed) -> str:
    depth = f"@d{speed.depth}" if speed.depth else ""
    return f"{speed.test}{speed.tokens}{depth}" + (f"x{speed.batch}" if speed.batch > 1 else "")


def errors(checked: Sequence[CheckedPrediction]) -> Errors:
    counted = [row for row in checked if row.counts]
    own = [row.error for row in counted]
    without = [row.left_out_error for row in counted if row.left_out_error is not None]
    return Errors(
        count=len(counted), median=median(own), largest=max(own), left_out_median=median(without),
        left_out_largest=max(without),
    )  # fmt: skip


def judge(check: PredictionCheck) -> None:
    """Raises GateFailed where the median error is above 20 %."""
    for name, found in (("decoding", check.decode), ("prefill", check.prefill), ("both", check.together)):
        if found.median > LIMIT:
            raise GateFailed(
                f"the median error of predicted {name} over {found.count} published speeds is {found.median:.0%}, "
                f"above {LIMIT:.0%}; fit measures/prediction.py again"
            )
