"""`edgellm demo`: the whole pipeline on the embedded model, offline."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from edgellm.bench.engine import EngineLoad
from edgellm.bench.machine import describe_machine
from edgellm.build.benching import bench_opened
from edgellm.build.order import gate_of, recipe_for
from edgellm.build.pipeline import Base, Product, make_artifact, make_base, measure, ship
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import EngineFailed
from edgellm.inference.chat import Delta, Message, SamplingOptions
from edgellm.inference.remote_chat import RemoteChat
from edgellm.inference.target import Target, resolve, resolve_folder
from edgellm.measures.sizing import Size, size_of
from edgellm.records.recipe import Recipe
from edgellm.records.results import DemoResult, Fidelity, FormatRow
from edgellm.report.html import write_report
from edgellm.stages import Progress, bundle, labelled
from edgellm.stages.verify import verification_documents
from edgellm.store.atomic import write_text
from edgellm.store.catalogue import read_documents
from edgellm.store.disk import filling
from edgellm.store.work import WorkFolder

LADDER = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
BUNDLED = "Q4_K_M"
QUESTION = "日本の首都はどこですか。"
LOAD = EngineLoad()


@dataclass
class Clock:
    """Seconds of each named part of the run."""

    parts: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.parts[part] = round(time.monotonic() - began, 2)


def run_demo(out: Path, progress: Progress | None = None) -> DemoResult:
    """Convert, calibrate, quantize to every type of the ladder, measure, verify, bundle, bench, serve one request,
    report. Everything lands in `out`; raises GateFailed if the bundled type does not pass its recipe's gate."""
    with bundle.claim(out / "bundle"), filling(out, f"the demo in {out}"):
        return demonstrate(out, progress)


def demonstrate(out: Path, progress: Progress | None) -> DemoResult:
    began, clock = time.monotonic(), Clock()
    work = WorkFolder(out / "work")
    target = resolve("tiny-ja")
    recipe = recipe_for(target)
    with clock("convert"):
        base = make_base(target, work, progress)
    with clock("calibrate and quantize"):
        products = {
            t: make_artifact(base, "gguf", t, {}, recipe.quantization.calibration, work, progress=progress)
            for t in LADDER
        }
    with clock("measure fidelity"):
        measured = measure(base, products, progress)
    with clock("bench"):
        rows = [row(base, products[t], measured[t][0], progress) for t in LADDER]
    with clock("verify and bundle"):
        product, (found, generates) = products[BUNDLED], measured[BUNDLED]
        built = ship(base, product, recipe, gate_of(recipe, BUNDLED), found, generates, out / "bundle", progress)
    with clock("serve and ask"), labelled(progress, "serve and ask"):
        reply, reasoning = ask_over_http(built.bundle)
    with labelled(progress, "compare the tokenizers"):
        tokens = tokenization(base, product)
    facts_shown, machine = model_facts(base, product, recipe, built.size), describe_machine()
    result = DemoResult(
        bundle=str(built.bundle),
        report=str(out / "report.html"),
        formats=rows,
        reply=reply,
        elapsed_s=round(time.monotonic() - began, 2),
        question=QUESTION,
        reasoning=reasoning,
        tokenization=tokens,
        model=facts_shown,
        machine=machine,
        verdict=built.verdict,
        steps=clock.parts,
        versions=software_versions(),
        created=bundle.now(),
    )
    with labelled(progress, "write the report"):
        write_text(out / "demo.json", result.model_dump_json(indent=1) + "\n")
        write_report(result, out / "report.html")
    return result


def row(base: Base, product: Product, found: Fidelity, progress: Progress | None) -> FormatRow:
    size = size_of(product.artifact, product.format)
    target = Target(
        f"{base.name} {product.type}", "gguf", product.artifact, product.format, product.artifact, base.source
    )
    speed = bench_opened(target, LOAD, RuntimeOptions(LOAD.context_tokens, max(LOAD.parallel)), progress)
    decode = next(t for t in speed.results if t.test.startswith("tg"))
    return FormatRow(
        format=product.format, type=product.type, size_bytes=size.size_bytes, bits_per_weight=size.bits_per_weight,
        mean_kld=found.mean_kld.value, same_top_percent=found.same_top_percent.value,
        bits_per_byte=found.bits_per_byte.value, decode_tokens_per_s=decode.tokens_per_s.median,
        fidelity=found, bench=speed,
    )  # fmt: skip


def ask_over_http(folder: Path) -> tuple[str, str]:
    """Start `edgellm serve` on a free port, ask one question with a streaming client; gives (reply, reasoning)."""
    command = [sys.executable, "-m", "edgellm.cli.main", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            chat = RemoteChat(ready_url(server), resolve_folder(folder).name)
            sampling = SamplingOptions(temperature=0.0)
            deltas: list[Delta] = list(chat.stream([Message("user", QUESTION)], sampling, max_tokens=160))
        finally:
            server.terminate()
    return "".join(d.content for d in deltas), "".join(d.reasoning for d in deltas)


def ready_url(server: subprocess.Popen[str]) -> str:
    """Wait for the ready line; raises EngineFailed with what the server said if it ends before."""
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line.strip())
        if found := re.match(r"serving .* on (http://\S+)", line):
            return found.group(1)
    raise EngineFailed(f"edgellm serve ended before it was ready: {' '.join(said[-3:])}")


def tokenization(base: Base, product: Product) -> dict[str, object]:
    """How often the engine's own vocabulary would have tokenized the verification text otherwise."""
    from edgellm.engines.gguf.vocabulary_only import engine_ids
    from edgellm.stages.verify import VERIFICATION

    lines = [line for d in read_documents(VERIFICATION) for line in d.split("\n") if line.strip()]
    exact = [base.tokenizer.encode(line) for line in lines]
    engine = engine_ids(product.artifact, lines)
    differing = [i for i, (a, b) in enumerate(zip(exact, engine, strict=True)) if a != b]
    example = min(differing, key=lambda i: len(lines[i]), default=0)
    return {
        "lines": len(lines), "lines_differing": len(differing),
        "exact_tokens": sum(map(len, exact)), "engine_tokens": sum(map(len, engine)),
        "example": lines[example],
        "example_exact": [base.tokenizer.token(i) for i in exact[example]],
        "example_engine": [base.tokenizer.token(i) for i in engine[example]],
    }  # fmt: skip


def model_facts(base: Base, product: Product, recipe: Recipe, size: Size) -> dict[str, object]:
    documents = verification_documents(base.tokenizer)
    return {
        "name": base.name, "bundled_type": product.type, "licence": recipe.source.licence,
        "parameters": size.parameters, "vocab_tokens": base.tokenizer.vocab_tokens,
        "verification_documents": len(documents), "verification_bytes": sum(d.utf8_bytes for d in documents),
    }  # fmt: skip


def software_versions() -> dict[str, str]:
    return {name: version(name) for name in ("edgellm", "llama-cpp-python", "gguf", "numpy", "tokenizers")}
