"""Result files built by code, as inputs: engine and load results of full-size models on two machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgellm.records.bench import (
    BenchedModel,
    Ceilings,
    EngineBench,
    EngineTest,
    LoadBench,
    LoadStep,
    Percentiles,
    RequestCounts,
    RequestRecord,
)
from edgellm.records.statistics import Spread
from edgellm.store.results import save

CPU = {
    "cpu": "Example CPU @ 2.80GHz", "architecture": "x86_64", "cores": 2, "instruction_sets": ["avx2"],
    "memory_bytes": 64 << 30, "system": "Linux 6.1", "python": "3.11.2",
}  # fmt: skip
GPU = "Example GPU H100 80GB"
FULL_LAYERS = {"llm-jp-4-8b": 32, "llm-jp-4-32b-a3b": 32, "llm-jp-4-33b": 64}
BUSY = "other programs kept 61 % of the processor busy (bound 25 %)"
JITTER = (0.99, 1.0, 1.01, 1.005, 0.995)  # of five runs around their mean


def timed(
    kind: str, rate: float, tokens: int = 128, parallel: int = 1, depth: int = 0, bytes_per_token: float | None = None,
    joules: float | None = None, jitter: tuple[float, ...] = JITTER,
) -> EngineTest:  # fmt: skip
    """A row whose runs lie around `rate` tokens a second."""
    seconds = tuple(tokens * parallel / rate * share for share in jitter)
    rates = sorted(tokens * parallel / s for s in seconds)
    name = f"{kind}{tokens}" + (f"@d{depth}" if depth else "") + (f"x{parallel}" if parallel > 1 else "")
    return EngineTest(
        test=name, kind=kind, tokens=tokens, depth=depth, parallel=parallel, seconds=seconds,  # type: ignore[arg-type]
        tokens_per_s=Spread(median=rates[len(rates) // 2], low=rates[0], high=rates[-1]), characters_per_s=None,
        bytes_per_token=bytes_per_token, joules_per_token=joules,
    )  # fmt: skip


def share_of(test: EngineTest, bandwidth: float) -> float | None:
    return test.bytes_per_token and test.tokens_per_s.median * test.bytes_per_token / bandwidth


def engine(
    recipe: str, tests: list[EngineTest], file_type: str = "Q4_K_M", size_bytes: int = 5_300_000_000,
    device: str = "cpu", reasons: list[str] | None = None, created: str = "2026-11-22T10:00:00+00:00", **changes: Any,
) -> EngineBench:  # fmt: skip
    bandwidth = 40e9 if device == "cpu" else 3e12
    tests = [t.model_copy(update={"bandwidth_fraction": share_of(t, bandwidth)}) for t in tests]
    fields: dict[str, Any] = {
        "target": f"/models/{recipe}.gguf",
        "model": BenchedModel(
            name=recipe, recipe=recipe, file_type=file_type, size_bytes=size_bytes, layers=FULL_LAYERS.get(recipe),
            random_weights=True,
        ),
        "results": tests, "machine": CPU,
        "conditions": {
            "other_load_before": 0.02, "other_load_during": 0.01, "clock_mhz_lowest": 2800, "clock_mhz_last": 2800,
            "temperature_c_highest": 61.5, "governor": "performance", "throttle_events": 0, "edgellm": "0.1.0",
            "engine_build": "llama.cpp b1", "setup": "2 threads",
            "gpus": [] if device == "cpu" else [{
                "name": device, "clock_mhz_lowest": 1755, "clock_mhz_highest": 1980, "temperature_c_highest": 64,
                "power_limit_watts": 700.0, "slowed": [],
            }],
        },
        "valid": not reasons, "reasons": reasons or [],
        "ceilings": Ceilings(
            memory_bandwidth_bytes_per_s=bandwidth, flops_per_s=1e12, device=device, how="copy"
        ),
        "settings": {
            "device": device, "prompt_tokens": [512], "decode_tokens": [128], "depth": [0], "parallel": [1, 8],
            "repeat": 5, "context_tokens": 4096,
        },
        "created": created,
    }  # fmt: skip
    return EngineBench(**(fields | changes))


def dense(rates: dict[int, float], device: str = "cpu", **changes: Any) -> EngineBench:
    """LLM-jp-4 8B; decode rates by the number of sequences."""
    return engine("llm-jp-4-8b", rows_at(rates, 4.6e9), size_bytes=5_300_000_000, device=device, **changes)


def mixture(rates: dict[int, float], device: str = "cpu", **changes: Any) -> EngineBench:
    """LLM-jp-4 32B-A3B; decode rates by the number of sequences."""
    return engine("llm-jp-4-32b-a3b", rows_at(rates, 2.0e9), size_bytes=18_250_000_000, device=device, **changes)


def rows_at(rates: dict[int, float], bytes_alone: float) -> list[EngineTest]:
    decode = [timed("tg", rate, parallel=n, bytes_per_token=bytes_alone / n**0.5) for n, rate in rates.items()]
    return [*decode, timed("pp", 4 * rates[1], tokens=512)]


def percentiles(middle: float) -> Percentiles:
    return Percentiles(
        p50=middle, p90=2 * middle, p99=3 * middle, mean=1.2 * middle, p50_low=0.95 * middle, p50_high=1.05 * middle,
        p90_low=1.8 * middle, p90_high=2.2 * middle, p99_low=2.5 * middle, p99_high=3.9 * middle,
    )  # fmt: skip


def records(count: int, ttft_s: float, tpot_s: float, prompt: int = 1000, output: int = 300) -> list[RequestRecord]:
    """Requests one a second, whose times differ a little from each other."""
    made = []
    for i in range(count):
        wobble = 1 + 0.2 * ((i * 7) % 11 - 5) / 5
        first = i + ttft_s * wobble
        made.append(RequestRecord(
            scheduled_s=i, sent_s=i, first_s=first, end_s=first + tpot_s * wobble * (output - 1), status="ok",
            prompt_tokens=prompt, output_tokens=output, output_characters=2 * output,
        ))  # fmt: skip
    return made


def step(label: str, ttft_ms: float, **load: Any) -> LoadStep:
    return LoadStep(
        label=label, duration_s=60.0, requests=RequestCounts(ok=60, failed=1, rejected=2), ttft_ms=percentiles(ttft_ms),
        tpot_ms=percentiles(40.0), itl_ms=percentiles(40.0), e2e_ms=percentiles(ttft_ms + 4000), requests_per_s=1.0,
        output_tokens_per_s=300.0, output_characters_per_s=600.0, goodput_per_s=0.9, **load,
    )  # fmt: skip


def load_result(requests: list[RequestRecord], steps: tuple[LoadStep, ...] = (), **changes: Any) -> LoadBench:
    whole = step("rate=1", 300.0, rate_per_s=1.0).model_dump()
    fields: dict[str, Any] = whole | {
        "duration_s": float(max(len(requests), 1)), "url": "http://127.0.0.1:8080/v1", "target": "llm-jp-4-8b",
        "workload": {"name": "chat", "seed": 0}, "arrival": "sweep" if steps else "poisson",
        "slo_ms": {"ttft": 2000.0, "tpot": 100.0}, "definitions": {"ttft_ms": "as edgellm means it"}, "steps": steps,
        "knee": "rate=2" if steps else None, "records": tuple(requests), "machine": CPU,
        "conditions": {"other_load_before": 0.02}, "valid": True, "reasons": [],
        "created": "2026-11-22T11:00:00+00:00",
    }  # fmt: skip
    return LoadBench(**(fields | changes))


def sweep_result() -> LoadBench:
    steps = tuple(step(f"rate={rate:g}", 100.0 * rate, rate_per_s=rate) for rate in (1.0, 2.0, 4.0, 8.0))
    return load_result(records(40, 0.3, 0.04), steps)


def write_all(folder: Path) -> Path:
    """A folder of results: two models on a CPU and a GPU, a sweep, one that is not valid, one that is none."""
    for result in (
        dense({1: 5.0, 8: 20.0}), mixture({1: 12.0, 8: 22.0}), dense({1: 150.0, 8: 900.0, 32: 2500.0}, GPU),
        mixture({1: 210.0, 8: 700.0, 32: 1900.0}, GPU), sweep_result(),
        dense({1: 9.0}, reasons=[BUSY], created="2026-11-22T12:00:00+00:00"),
    ):  # fmt: skip
        save(result, folder)
    (folder / "notes.json").write_text('{"kind": "shopping list"}')
    return folder
