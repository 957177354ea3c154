"""What result files show of a claim: one function for each kind of metric, from valid results to cases."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from edgellm.build.claim_found import Found, exactly
from edgellm.build.claim_scores import score_cases
from edgellm.build.recipes import config_of
from edgellm.measures.comparison import ratio, speed_ratio
from edgellm.measures.statistics import spread
from edgellm.records.bench import EngineBench, EngineTest, LoadBench
from edgellm.records.claims import (
    CapacityMetric,
    CostMetric,
    MemoryMetric,
    Metric,
    RatioMetric,
    ScoreMetric,
    ShapeMetric,
    SpeedMetric,
)
from edgellm.records.statistics import Interval
from edgellm.store import catalogue
from edgellm.store.results import Saved, device_of

SECONDS_OF_HOUR, JOULES_OF_KWH = 3600, 3.6e6
# Settings that say what was tested, and how often, which a test's name and runs say for themselves.
OF_TESTS = ("prompt_tokens", "decode_tokens", "depth", "parallel", "repeat", "sustain_s", "context_tokens", "sequences")
KIND_OF = {"decode": "tg", "joules": "tg", "prefill": "pp"}


@dataclass(frozen=True)
class Benched:
    """One test of an engine result, with the runs of older results of the same artifact, loaded in the same way."""

    saved: Saved
    result: EngineBench
    test: EngineTest
    older: tuple[Saved, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(str(saved.path) for saved in (*self.older, self.saved))

    @property
    def phase(self) -> str:
        return self.test.kind or self.test.test[:2]


@dataclass(frozen=True)
class Evidence:
    """The valid results, as the metrics look them up."""

    saved: Sequence[Saved]

    @cached_property
    def tests(self) -> Mapping[tuple[str, str, str, int, str], Benched]:
        """By recipe, device, file type, size and test: the newest, with the runs of those that say the same."""
        found: dict[tuple[str, str, str, int, str], Benched] = {}
        for saved, result in sorted(self.benches, key=lambda pair: pair[1].created):
            model = result.model
            if model is None or model.recipe is None:
                continue
            for test in result.results:
                key = (model.recipe, device_of(result), model.file_type or "?", model.size_bytes or 0, test.test)
                before = found.get(key)
                same = before is not None and how_made(before.result) == how_made(result) is not None
                found[key] = added(before, saved, result, test) if before and same else Benched(saved, result, test)
        return found

    @property
    def benches(self) -> Iterator[tuple[Saved, EngineBench]]:
        return ((saved, saved.result) for saved in self.saved if isinstance(saved.result, EngineBench))

    def of(self, recipes: Sequence[str], phase: str) -> Iterator[Benched]:
        return (b for key, b in self.tests.items() if key[0] in recipes and b.phase == phase)

    @cached_property
    def loads(self) -> Sequence[tuple[Saved, LoadBench]]:
        return [(saved, saved.result) for saved in self.saved if isinstance(saved.result, LoadBench)]


def how_made(result: EngineBench) -> tuple[object, ...] | None:
    """What must agree for the runs of two results to be runs of one; None where the artifact's digest is not known."""
    if result.model is None or result.model.sha256 is None:
        return None
    loaded = {key: value for key, value in result.settings.items() if key not in OF_TESTS}
    return result.model.sha256, result.conditions.get("engine_build"), tuple(sorted(map(repr, loaded.items())))


def added(before: Benched, saved: Saved, result: EngineBench, test: EngineTest) -> Benched:
    """The newer result, its test with the runs of both; where one does not hold its single runs, the newer alone."""
    older = before.test
    if not older.seconds or not test.seconds or older.tokens != test.tokens or not test.tokens:
        return Benched(saved, result, test)
    seconds = (*older.seconds, *test.seconds)
    rate = spread([test.parallel * test.tokens / each for each in seconds])
    both = test.model_copy(update={"seconds": seconds, "tokens_per_s": rate})
    return Benched(saved, result, both, (*before.older, before.saved))


def variant_of(benched: Benched) -> str:
    model = benched.result.model
    assert model is not None
    size = f" {model.size_bytes / 1e9:.2f} GB" if model.size_bytes else ""
    return f"{model.recipe} {model.file_type or ''}{size}"


def of_shape(metric: ShapeMetric, evidence: Evidence) -> list[Found]:
    """Counted from the recipe's [shape]; nothing has to be run."""
    config = config_of(catalogue.load_recipe(metric.recipe))
    value, text = count(config, metric.quantity)
    return [Found(value, "any", "recipe shape", variant=metric.recipe, text=text)]


def count(config: Mapping[str, Any], quantity: str) -> tuple[Interval | None, str]:
    """(number, "") or (None, name) of a configuration."""
    from edgellm.engines.gguf.full_shape import shaped
    from edgellm.families import family_of

    if quantity == "architecture":
        return None, str(config["architectures"][0])
    sizes = family_of(config["architectures"][0]).sizes(config)
    if quantity in ("experts", "experts_used"):
        return exactly(float(getattr(sizes, quantity))), ""
    weights = [t for t in shaped(config) if not t.name.startswith("rope_")]
    total = sum(t.elements for t in weights)
    if quantity == "active_parameters" and sizes.experts:
        of_experts = sum(t.elements for t in weights if "_exps." in t.name)
        total -= of_experts * (sizes.experts - sizes.experts_used) // sizes.experts
    return exactly(float(total)), ""


def of_ratio(metric: RatioMetric, evidence: Evidence) -> list[Found]:
    """Every pair of files on one device in one test, `recipe` over `over`; sizes once a pair of files."""
    phase = KIND_OF.get(metric.quantity)
    found, seen = [], set()
    for ours, theirs in pairs(metric, evidence):
        same_test = ours.phase == phase and ours.test.test == theirs.test.test
        if ours.saved.path == theirs.saved.path or (phase and not same_test):
            continue
        made = ratio_found(metric.quantity, ours, theirs)
        if made is None or (made.variant, made.device, made.test) in seen:
            continue
        seen.add((made.variant, made.device, made.test))
        found.append(made)
    return found


def pairs(metric: RatioMetric, evidence: Evidence) -> Iterator[tuple[Benched, Benched]]:
    for (recipe, device, kind, *_), ours in evidence.tests.items():
        if recipe != metric.recipe or (metric.types and kind not in metric.types):
            continue
        for (other, other_device, other_kind, *_), theirs in evidence.tests.items():
            equal = metric.over_types or metric.types or kind == other_kind
            fits = not metric.over_types or other_kind in metric.over_types
            same_machine = device == other_device or metric.quantity == "size"
            if other == metric.over and equal and fits and same_machine:
                yield ours, theirs


def ratio_found(quantity: str, ours: Benched, theirs: Benched) -> Found | None:
    """None where one of the two does not hold the quantity."""
    variant = f"{variant_of(ours)} / {variant_of(theirs)}"
    files, sure = (*ours.files, *theirs.files), True
    if quantity == "size":
        one, other = (b.result.model.size_bytes if b.result.model else None for b in (ours, theirs))
        if not one or not other:
            return None
        return Found(exactly(one / other), "any", "sizes of the files", variant=variant, files=files)
    if quantity == "joules":
        mine, its = ours.test.joules_per_token, theirs.test.joules_per_token
        if not mine or not its:
            return None
        value, how = exactly(mine / its), "one figure each, no interval"
    else:
        value, how, sure = speed_ratio(theirs.test, ours.test)
    return Found(
        value, device_of(ours.result), how, ours.test.test, ours.test.parallel, variant, files=files, sure=sure
    )  # fmt: skip


def of_speed(metric: SpeedMetric, evidence: Evidence) -> list[Found]:
    found = []
    for benched in evidence.of(metric.recipes, KIND_OF[metric.phase]):
        if benched.test.parallel == 1:
            rate = benched.test.tokens_per_s
            found.append(Found(
                Interval(value=rate.median, low=rate.low, high=rate.high), device_of(benched.result),
                "median, slowest and fastest run", benched.test.test, 1, variant_of(benched),
                files=benched.files, sure=len(benched.test.seconds) != 1,
            ))  # fmt: skip
    return found


def of_memory(metric: MemoryMetric, evidence: Evidence) -> list[Found]:
    """One case a file: the memory of a run is that of all its tests together."""
    found = {}
    for benched in [*evidence.of(metric.recipes, "tg"), *evidence.of(metric.recipes, "pp")]:
        result, model = benched.result, benched.result.model
        gpu, process = result.peak_gpu_memory_bytes or 0, result.peak_memory_bytes or 0
        assert model is not None
        whole_on_gpu = gpu >= (model.size_bytes or 0) > 0
        taken = gpu if whole_on_gpu else gpu + process
        room = context_of(result)
        if taken and room >= metric.least_context:
            how = "peak of the GPU" if whole_on_gpu else "peak of the process" + (" and the GPU" if gpu else "")
            found[benched.saved.path] = Found(
                exactly(taken), device_of(result), f"{how}, room for {room:,} tokens", variant=variant_of(benched),
                files=benched.files,
            )  # fmt: skip
    return list(found.values())


def context_of(result: EngineBench) -> int:
    """Tokens that each sequence of a run had room for."""
    stated = result.settings.get("context_tokens")
    if isinstance(stated, int) and stated:
        return stated
    most = {key: np.max(result.settings.get(key) or 0) for key in ("prompt_tokens", "decode_tokens", "depth")}
    return int(most["depth"] + max(most["prompt_tokens"], most["decode_tokens"]))


def of_capacity(metric: CapacityMetric, evidence: Evidence) -> list[Found]:
    """⌈demand / goodput⌉, where a lighter workload's goodput is counted down to the assumed lengths."""
    demand = metric.people * metric.share_at_work * metric.requests_per_hour / SECONDS_OF_HOUR
    found = []
    for saved, load in evidence.loads:
        answered = [r for r in load.records if r.status == "ok" and r.prompt_tokens and r.output_tokens]
        strict = all(load.slo_ms.get(name, math.inf) <= most for name, most in metric.slo_ms.items())
        meant = any(recipe in load.target.lower() for recipe in metric.recipes)
        if not meant or not strict or not answered or load.goodput_per_s is None:
            continue
        prompt = float(np.mean([r.prompt_tokens or 0 for r in answered]))
        output = float(np.mean([r.output_tokens or 0 for r in answered]))
        heavier = max(1.0, metric.prompt_tokens / prompt, metric.output_tokens / output)
        server, files = f"server {load.target} at {load.url}", (str(saved.path),)
        how = f"demand {demand:.3g}/s, goodput {load.goodput_per_s:.3g}/s of {prompt:.0f}+{output:.0f} tokens"
        if heavier > 1:
            how += f", which is counted as {1 / heavier:.2g} of an assumed request"
        if not load.goodput_per_s:
            found.append(Found(None, server, how, load.label, text="no request kept the limits", files=files))
            continue
        goodput = goodput_interval(load, load.goodput_per_s)
        boxes = [float(math.ceil(demand * heavier / each)) for each in (goodput.value, goodput.high, goodput.low)]
        value = Interval(value=boxes[0], low=boxes[1], high=boxes[2])
        found.append(Found(value, server, how, load.label, files=files))
    return found


def goodput_interval(load: LoadBench, stated: float) -> Interval:
    """The stated goodput, with the relative interval of the share of requests that kept every limit."""
    from edgellm.bench.load.measures import keeps

    kept = np.array([float(r.status == "ok" and keeps(r, load.slo_ms)) for r in load.records])
    if len(kept) < 2 or not kept.any():
        return exactly(stated)
    share = ratio(np.ones(len(kept)), kept)
    low = max(share.low, 0.5 / len(kept))  # none at all in a resample would ask for boxes without end
    return Interval(value=stated, low=stated * low / share.value, high=stated * share.high / share.value)


def of_cost(metric: CostMetric, evidence: Evidence) -> list[Found]:
    """Only where the energy was measured and the device has a price: half of a cost is none."""
    found = []
    for benched in evidence.of(metric.recipes, "tg"):
        device, rate = device_of(benched.result), benched.test.tokens_per_s
        prices = [yen for name, yen in metric.device_yen.items() if re.search(rf"\b{re.escape(name)}\b", device)]
        joules = benched.test.joules_per_token
        if not prices or joules is None:
            continue
        price = prices[0]
        hourly = price / (metric.lifetime_hours * metric.utilisation)
        electricity = 1e6 * joules / JOULES_OF_KWH * metric.yen_per_kwh
        yen = [1e6 / (each * SECONDS_OF_HOUR) * hourly + electricity for each in (rate.median, rate.high, rate.low)]
        value, low, high = (each / metric.reference_yen for each in yen)
        how = f"{yen[0]:,.1f} yen a million tokens, {electricity:,.1f} of it electricity; {price:,} yen for the machine"
        found.append(Found(
            Interval(value=value, low=low, high=high), device, how, benched.test.test, benched.test.parallel,
            variant_of(benched), files=benched.files,
        ))  # fmt: skip
    return found


def of_score(metric: ScoreMetric, evidence: Evidence) -> list[Found]:
    return score_cases(metric, evidence.saved)


MEASURED: Mapping[str, Callable[[Any, Evidence], list[Found]]] = {
    "shape": of_shape, "ratio": of_ratio, "speed": of_speed, "memory": of_memory, "capacity": of_capacity,
    "cost": of_cost, "score": of_score,
}  # fmt: skip
UNMEASURABLE = {
    "evidence": "what shows it is no figure of a result file",
}


def measure(metric: Metric, evidence: Evidence) -> list[Found]:
    """What the results show of a metric, in the order of the files; empty where they show nothing."""
    taken = MEASURED.get(metric.kind)
    return taken(metric, evidence) if taken else []
