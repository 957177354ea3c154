"""A claim's status is what valid result files show: for each device and batch, and never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench_results import BUSY, GPU, dense, engine, load_result, mixture, records, timed, write_all
from edgellm.build.claim_metrics import MEASURED, UNMEASURABLE
from edgellm.build.claims import claims_of
from edgellm.errors import BadInput
from edgellm.records.bench import EngineBench
from edgellm.records.claims import Case, ClaimFound
from edgellm.store import catalogue
from edgellm.store.results import Result, save

CLAIMS = {claim.id: claim for claim in catalogue.load_claims().claims}


def found(folder: Path, name: str, *results: Result) -> ClaimFound:
    folder.mkdir(exist_ok=True)
    for result in results:
        save(result, folder)
    return next(claim for claim in claims_of(folder).claims if claim.id == name)


def cases(claim: ClaimFound, measure: str) -> list[Case]:
    return [case for case in claim.cases if case.measure == measure]


def test_the_recipes_and_the_claims_name_each_other() -> None:
    targets = {target for name in catalogue.model_recipes() for target in catalogue.load_recipe(name).targets}
    assert targets <= set(CLAIMS)
    assert len(CLAIMS) == len(catalogue.load_claims().claims)
    for claim in CLAIMS.values():
        for measure in claim.measures:
            named = [getattr(measure.metric, key, None) for key in ("recipe", "over")]
            named += [*getattr(measure.metric, "recipes", ())]
            assert {name for name in named if name} <= set(catalogue.recipe_names())


def test_every_kind_of_metric_is_measured_or_says_why_not() -> None:
    kinds = {measure.metric.kind for claim in CLAIMS.values() for measure in claim.measures}
    assert kinds == {*MEASURED, *UNMEASURABLE}


def test_a_claim_says_everything_in_both_languages() -> None:
    for claim in CLAIMS.values():
        assert all([claim.ja, claim.statement, claim.met_when, claim.met_when_ja, claim.measures])
        for measure in claim.measures:
            assert measure.ja
            assert measure.how
            assert bool(measure.reason) == bool(measure.reason_ja)
            assert (measure.target is None) == (measure.compare == "reported")


def test_without_results_only_shapes_show_something(tmp_path: Path) -> None:
    statuses = {claim.id: claim.status for claim in claims_of(tmp_path).claims}
    assert statuses.pop("llmjp4-active") == "met"
    assert statuses.pop("llmjp4-arch") == "met"
    assert set(statuses.values()) == {"unmeasured"}


def test_counts_of_the_shape_are_exact(tmp_path: Path) -> None:
    claim = found(tmp_path, "llmjp4-active")
    values = {case.measure: case.value.value for case in claim.cases if case.value}
    assert values == {
        "parameters": 32_139_028_992, "active parameters": 3_827_476_992, "experts": 128, "experts used": 8,
    }  # fmt: skip
    assert {case.how for case in claim.cases} == {"recipe shape"}


def test_the_status_stands_for_each_batch(tmp_path: Path) -> None:
    claim = found(tmp_path, "llmjp4-cost", dense({1: 150.0, 8: 900.0}, GPU), mixture({1: 210.0, 8: 700.0}, GPU))
    status = {case.parallel: case.status for case in cases(claim, "decode speed over the 8B's")}
    assert status == {1: "met", 8: "missed"}
    assert claim.status == "missed"
    assert cases(claim, "decode speed over the 8B's")[0].value.value == pytest.approx(1.4)  # type: ignore[union-attr]


def test_a_claim_is_met_when_all_that_is_required_was_measured_and_meets(tmp_path: Path) -> None:
    claim = found(tmp_path, "llmjp4-cost", dense({1: 5.0}), mixture({1: 12.0}))
    assert claim.status == "met"
    assert [measure.status for measure in claim.measures] == ["met", "met", "unmeasured"]  # energy is not required


def test_an_interval_that_holds_the_target_decides_nothing(tmp_path: Path) -> None:
    claim = found(tmp_path, "llmjp4-cost", dense({1: 10.0}), mixture({1: 10.01}))
    assert {case.status for case in claim.cases} == {"undecided"}
    assert claim.status == "unmeasured"


def test_only_equal_types_on_the_same_machine_are_held_against_each_other(tmp_path: Path) -> None:
    other_type = engine("llm-jp-4-32b-a3b", [timed("tg", 12.0)], "Q8_0", 34_000_000_000)
    claim = found(tmp_path, "llmjp4-cost", dense({1: 5.0}), other_type, mixture({1: 210.0}, GPU))
    assert claim.cases == ()


def test_two_files_of_one_recipe_are_two_cases(tmp_path: Path) -> None:
    stock = engine("llm-jp-4-32b-a3b", [timed("tg", 10.0)], size_bytes=21_400_000_000)
    claim = found(tmp_path, "llmjp4-cost", dense({1: 5.0}), mixture({1: 12.0}), stock)
    variants = [case.variant for case in cases(claim, "decode speed over the 8B's")]
    assert len(variants) == 2
    assert any("18.25 GB" in v for v in variants)
    assert any("21.40 GB" in v for v in variants)


def test_the_newest_result_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    old, new = mixture({1: 12.0}), mixture({1: 15.0}, created="2026-11-23T10:00:00+00:00")
    claim = found(tmp_path, "llmjp4-cost", dense({1: 5.0}), new, old)
    assert [c.value.value for c in cases(claim, "decode speed over the 8B's") if c.value] == [pytest.approx(3.0)]
    assert any("a newer file took its place" in left.reason for left in claims_of(tmp_path).not_counted)


def test_the_runs_of_one_artifact_loaded_in_one_way_are_taken_together(tmp_path: Path) -> None:
    def measured(rate: float, hour: int, digest: str = "0") -> EngineBench:
        result = mixture({1: rate}, created=f"2026-11-22T{hour}:00:00+00:00")
        assert result.model is not None
        return result.model_copy(update={"model": result.model.model_copy(update={"sha256": f"sha256:{digest}"})})

    twice = found(tmp_path, "llmjp4-cost", dense({1: 5.0}), measured(12.0, 10), measured(15.0, 11))
    (case,) = cases(twice, "decode speed over the 8B's")
    assert case.value is not None
    assert case.value.value == pytest.approx(2 / (1 / 12 + 1 / 15) / 5, rel=0.01)
    assert len(case.files) == 3
    other = found(tmp_path, "llmjp4-cost", measured(20.0, 12, digest="1"))
    (case,) = cases(other, "decode speed over the 8B's")
    assert case.value is not None
    assert case.value.value == pytest.approx(4.0)


def test_one_run_of_a_side_decides_nothing(tmp_path: Path) -> None:
    once = engine("llm-jp-4-32b-a3b", [timed("tg", 12.0, jitter=(1.0,))], size_bytes=18_250_000_000)
    claim = found(tmp_path, "llmjp4-cost", dense({1: 5.0}), once)
    assert [case.status for case in cases(claim, "decode speed over the 8B's")] == ["undecided"]
    assert claim.status == "unmeasured"


@pytest.mark.parametrize("which", ["invalid", "reduced"])
def test_invalid_and_reduced_results_do_not_count_and_are_named(tmp_path: Path, which: str) -> None:
    whole = dense({1: 5.0})
    assert whole.model is not None
    few = whole.model_copy(update={"model": whole.model.model_copy(update={"layers": 4})})
    invalid = dense({1: 5.0}, reasons=[BUSY])
    result, reason = {"invalid": (invalid, BUSY), "reduced": (few, "only 4 of 32 layers")}[which]
    claim = found(tmp_path, "llmjp4-cost", mixture({1: 12.0}), result)
    assert claim.status == "unmeasured"
    assert any(reason in left.reason for left in claims_of(tmp_path).not_counted)


def test_energy_is_compared_where_both_have_it(tmp_path: Path) -> None:
    def with_energy(recipe: str, joules: float) -> Result:
        return engine(recipe, [timed("tg", 10.0, joules=joules)])

    claim = found(tmp_path, "llmjp4-cost", with_energy("llm-jp-4-8b", 2.0), with_energy("llm-jp-4-32b-a3b", 3.0))
    (case,) = cases(claim, "energy a token over the 8B's")
    assert case.value is not None
    assert (case.value.value, case.status) == (1.5, "missed")


def test_sizes_are_compared_whatever_the_machine(tmp_path: Path) -> None:
    one = engine("llm-jp-4-33b", [timed("tg", 9.0)], "IQ1_S", 7_400_000_000)
    half = engine("llm-jp-4-33b", [timed("tg", 30.0)], "BF16", 66_400_000_000, device=GPU)
    claim = found(tmp_path, "takane-1bit", one, half)
    (case,) = claim.cases
    assert (case.measure, case.status) == ("size over 16 bits", "missed")


def test_memory_of_a_gpu_counts_with_enough_context(tmp_path: Path) -> None:
    fits = engine(
        "llm-jp-4-33b", [timed("tg", 40.0)], size_bytes=20_160_000_000, device=GPU, peak_gpu_memory_bytes=23 * 10**9
    )
    short = fits.model_copy(update={
        "settings": fits.settings | {"context_tokens": 640}, "peak_gpu_memory_bytes": 50 * 10**9,
        "created": "2026-11-23T10:00:00+00:00",
    })  # fmt: skip
    assert found(tmp_path / "a", "tsuzumi2-1gpu", fits).status == "met"
    assert found(tmp_path / "b", "tsuzumi2-1gpu", short).cases == ()


def test_a_model_that_is_partly_on_the_gpu_takes_both_memories(tmp_path: Path) -> None:
    split = engine(
        "llm-jp-4-33b", [timed("tg", 9.0)], size_bytes=20_160_000_000, device=f"{GPU} and cpu",
        peak_gpu_memory_bytes=15 * 10**9, peak_memory_bytes=30 * 10**9,
    )  # fmt: skip
    claim = found(tmp_path, "tsuzumi2-1gpu", split)
    assert claim.cases[0].value is not None
    assert claim.cases[0].value.value == 45e9
    assert claim.status == "missed"


def test_boxes_are_demand_over_goodput(tmp_path: Path) -> None:
    claim = found(tmp_path, "gennai-scale", load_result(records(40, 0.3, 0.04)))
    (case,) = claim.cases
    assert case.value is not None
    assert case.value.value == 34  # 30 requests a second in the busiest hour over 0.9
    assert case.status == "met"
    assert case.value.low <= 34 <= case.value.high


def test_a_lighter_workload_is_counted_down_to_the_assumed_lengths(tmp_path: Path) -> None:
    claim = found(tmp_path, "gennai-scale", load_result(records(40, 0.3, 0.04, prompt=1000, output=100)))
    assert claim.cases[0].value is not None
    assert claim.cases[0].value.value == 100


def test_the_goodput_of_a_toy_says_nothing(tmp_path: Path) -> None:
    toy = load_result(records(40, 0.3, 0.04), target="tiny-ja")
    assert found(tmp_path, "gennai-scale", toy).status == "unmeasured"


def test_a_goodput_under_looser_limits_does_not_count(tmp_path: Path) -> None:
    loose = load_result(records(40, 0.3, 0.04), slo_ms={"ttft": 9000.0, "tpot": 100.0})
    assert found(tmp_path, "gennai-scale", loose).status == "unmeasured"


def test_a_server_that_keeps_no_limit_misses(tmp_path: Path) -> None:
    claim = found(tmp_path, "gennai-scale", load_result(records(40, 9.0, 0.4), goodput_per_s=0.0))
    assert (claim.status, claim.cases[0].text) == ("missed", "no request kept the limits")


def test_a_cost_needs_a_price_and_a_measured_energy(tmp_path: Path) -> None:
    without = engine("llm-jp-4-8b", [timed("tg", 900.0)], device="NVIDIA H100 80GB HBM3")
    assert found(tmp_path / "a", "tsuzumi-cost", without).status == "unmeasured"
    unknown = engine("llm-jp-4-8b", [timed("tg", 900.0, joules=0.5)], device="Unheard-of GPU")
    assert found(tmp_path / "b", "tsuzumi-cost", unknown).status == "unmeasured"
    known = engine("llm-jp-4-8b", [timed("tg", 900.0, joules=0.5)], device="NVIDIA H100 80GB HBM3")
    case = found(tmp_path / "c", "tsuzumi-cost", known).cases[0]
    hourly, electricity = 5_000_000 / (26_280 * 0.5), 0.5e6 / 3.6e6 * 30
    assert case.value is not None
    assert case.value.value == pytest.approx((1e6 / (900 * 3600) * hourly + electricity) / 225, rel=0.01)


def test_slow_and_fast_machines_are_told_apart(tmp_path: Path) -> None:
    claim = found(tmp_path, "edge-onprem", dense({1: 5.0, 8: 30.0}), dense({1: 150.0}, GPU))
    assert {case.device.split(",")[0]: case.status for case in claim.cases} == {
        "Example CPU @ 2.80GHz": "missed", GPU: "met",
    }  # fmt: skip


def test_files_that_are_no_results_are_named(tmp_path: Path) -> None:
    left = claims_of(write_all(tmp_path)).not_counted
    assert any(each.file.endswith("notes.json") for each in left)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder of results"):
        claims_of(tmp_path / "none")


def test_the_summary_tells_target_and_finding(tmp_path: Path) -> None:
    claim = found(tmp_path, "llmjp4-cost", dense({1: 5.0}), mixture({1: 12.0}))
    assert "decode speed over the 8B's ≥ 1 ×" in claim.target
    assert claim.measured is not None
    assert "decode speed over the 8B's: 2.4 ×" in claim.measured
