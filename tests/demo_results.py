"""Demo results built by code: one as a run on a small machine gives it, and one that is hard to show."""

from __future__ import annotations

from typing import Any

from edgellm.records.bench import EngineBench, EngineTest
from edgellm.records.results import Check, DemoResult, Fidelity, FormatRow, Verdict
from edgellm.records.statistics import Interval, Spread

# type, bytes, bits per weight, mean KLD, same top %, decode tokens/s, prompt tokens/s
LADDER = (
    ("F16", 13_871_136, 16.006, 0.0000021347, 99.8713, 402.71, 2401.3),
    ("Q8_0", 7_541_280, 8.507, 0.00038219, 98.6012, 455.18, 2722.9),
    ("Q6_K", 5_904_416, 6.568, 0.0021457, 97.1455, 431.02, 1980.4),
    ("Q5_K_M", 5_338_912, 5.898, 0.0058921, 95.0127, 447.66, 1871.7),
    ("Q4_K_M", 4_806_432, 5.267, 0.020168, 91.3346, 498.34, 2295.5),
    ("IQ4_XS", 4_512_288, 4.919, 0.026841, 90.0819, 460.93, 2240.8),
    ("Q3_K_M", 4_282_912, 4.647, 0.070423, 84.9173, 489.05, 1765.2),
    ("Q2_K", 3_852_832, 4.138, 0.18934, 76.2291, 501.77, 1702.6),
)
BYTES = ("<0xF0>", "<0xA0>", "<0xAE>", "<0xB7>")  # 𠮷


def around(value: float, share: float = 0.06) -> Interval:
    return Interval(value=value, low=value * (1 - share), high=value * (1 + share))


def ran(median: float) -> Spread:
    return Spread(median=median, low=median * 0.9713, high=median * 1.0191)


def fidelity(kld: float, same_top: float) -> Fidelity:
    return Fidelity(
        tokens=8113, documents=24,
        mean_kld=around(kld), median_kld=around(kld / 3), p999_kld=around(kld * 31, 0.2),
        same_top_percent=around(same_top, 0.001), perplexity=61.03 * (1 + kld), reference_perplexity=61.03,
        perplexity_ratio=around(1 + kld * 0.9, 0.004), bits_per_byte=around(1.5317 * (1 + kld / 5), 0.03),
        reference_bits_per_byte=1.53168,
    )  # fmt: skip


def bench(type_name: str, decode: float, prompt: float, reasons: list[str]) -> EngineBench:
    return EngineBench(
        target=f"tiny-ja {type_name}",
        results=[
            EngineTest(test="pp512", tokens_per_s=ran(prompt), characters_per_s=prompt * 1.72),
            EngineTest(test="tg128", tokens_per_s=ran(decode), characters_per_s=decode * 1.69),
        ],
        machine={},
        conditions={
            "other_load_before": 0.613 if reasons else 0.037, "governor": None, "clock_mhz_before": 2800,
            "free_memory_bytes_before": 5_123_456_789, "edgellm": "0.1.0", "engine": "gguf",
            "engine_build": "llama.cpp b1",
        },
        valid=not reasons, reasons=reasons,
    )  # fmt: skip


def row(values: tuple[str, int, float, float, float, float, float], reasons: list[str]) -> FormatRow:
    name, size_bytes, bits, kld, same_top, decode, prompt = values
    found = fidelity(kld, same_top)
    return FormatRow(
        format="gguf", type=name, size_bytes=size_bytes, bits_per_weight=bits, mean_kld=kld,
        same_top_percent=same_top, bits_per_byte=found.bits_per_byte.value, decode_tokens_per_s=decode,
        fidelity=found, bench=bench(name, decode, prompt, reasons),
    )  # fmt: skip


def sample(**changes: Any) -> DemoResult:
    """The result, with the given fields in place of its own."""
    busy = ["other programs kept 61% of the processor busy before the run (bound 25%)"]
    fields: dict[str, Any] = {
        "bundle": "demo/bundle", "report": "demo/report.html",
        "formats": [row(values, busy if values[0] == "Q3_K_M" else []) for values in LADDER],
        "reply": "日本の首都は東京です。", "elapsed_s": 71.38, "question": "日本の首都はどこですか。",
        "reasoning": "利用者は日本の首都を尋ねている。首都は東京である。",
        "tokenization": {
            "lines": 312, "lines_differing": 214, "exact_tokens": 8089, "engine_tokens": 8593,
            "example": "彼は𠮷野家で昼食をとった。",
            "example_exact": ["▁", "彼", "は", *BYTES, "野", "家で", "昼食", "をとった", "。"],
            "example_engine": ["▁彼", "は", *BYTES, "野家", "で", "昼", "食", "をと", "った", "。"],
        },
        "model": {
            "name": "tiny-ja", "bundled_type": "Q4_K_M", "licence": "Apache-2.0", "parameters": 6_884_608,
            "vocab_tokens": 8192, "verification_documents": 24, "verification_bytes": 41_207,
        },
        "machine": {
            "cpu": "Example CPU @ 2.80GHz", "architecture": "x86_64", "cores": 2,
            "instruction_sets": ["avx2", "avx512f"], "memory_bytes": 8_216_346_624, "system": "Linux 6.1",
            "python": "3.11.2",
        },
        "verdict": Verdict(passed=True, checks=[
            Check(name="structure", passed=True, value=56.0, detail="tensors inside the file"),
            Check(name="tensor types", passed=True, value="F32, Q4_K, Q6_K", limit="holds Q4_K"),
            Check(name="tokenizer round trip", passed=True, value=8.0, limit=8.0),
            Check(name="mean KLD", passed=True, value=0.021378, limit=0.05),
        ]),
        "steps": {
            "convert": 0.41, "calibrate and quantize": 9.87, "measure fidelity": 24.06, "bench": 30.22,
            "verify and bundle": 0.93, "serve and ask": 3.77,
        },
        "versions": {"edgellm": "0.1.0", "llama-cpp-python": "0.3.36", "numpy": "2.3.5"},
        "created": "2026-11-21T13:55:01Z",
    }  # fmt: skip
    return DemoResult(**(fields | changes))


MARKUP = """< & " ' </script><script>document.title = "run"</script><img src=x>"""
LONG = "とても長い名前" * 12 + "-" + "unbroken" * 12


def hard_to_show() -> DemoResult:
    """Long names, markup, missing numbers, values of every size, a verdict that failed."""
    clean = sample()
    tiny, huge, plain = clean.formats[0], clean.formats[-1], clean.formats[4]
    nothing = plain.bench.model_copy(update={
        "results": [t.model_copy(update={"characters_per_s": None}) for t in plain.bench.results],
        "conditions": {
            "other_load_before": None, "clock_mhz_before": None, "free_memory_bytes_before": None, "engine_build": LONG,
        },
        "valid": False, "reasons": [MARKUP, LONG],
    })  # fmt: skip
    rows = [
        row(("F16", 987_654_321_987_654_321, 1e-7, 3.1e-13, 100.0, 0.0421, 0.00071), []),
        row((LONG, 3, 16.0, 7.7e18, 0.0, 8.8e17, 9.9e20), []),
        tiny.model_copy(update={"type": MARKUP, "bits_per_weight": 123_456.789}),
        huge.model_copy(update={"type": "Q2_K" * 6}),
        plain.model_copy(update={"bench": nothing}),
    ]
    checks = [
        Check(name="mean KLD", passed=False, value=7.7e18, limit=1e-12, detail=MARKUP),
        Check(name=LONG, passed=False, value=None, limit=None, detail=LONG),
        Check(name=MARKUP, passed=True, value=LONG, limit=MARKUP),
    ]
    return sample(
        formats=rows, verdict=Verdict(passed=False, checks=checks), reply=MARKUP + LONG, question=LONG,
        reasoning=MARKUP, bundle="/" + LONG, steps={LONG: 1e-9, MARKUP: 1e17}, elapsed_s=1e17,
        model=clean.model | {"name": LONG, "licence": MARKUP, "parameters": None, LONG: 2**63},
        machine=clean.machine | {"cpu": LONG, "memory_bytes": None, MARKUP: [LONG, 1e-300, None]},
        versions={LONG: LONG, "edgellm": MARKUP},
        tokenization=clean.tokenization | {"example": LONG, "example_exact": [LONG, MARKUP], "example_engine": [""]},
    )  # fmt: skip
