"""How far predicted speeds are from measured ones, on this machine and on files of true shapes.

    python benchmarks/prediction.py [CASE …] [--folder DIR] [--out FILE.json] [--threads 0] [--list]

Each case is a recipe at a depth. A file of that depth is written and its size held against the planned one. Its speed
is predicted twice: from two files of a few of its layers (as `edgellm plan --measure` does), and from the machine's
measured ceilings alone (`edgellm plan`). Decoding of 1 and 8 sequences and a prompt of 512 tokens are timed, the deep
file and the shallow ones in turn; all are removed before the next case. What is predicted never comes from what is
measured: the shallow files are other files. Weights are random (`edgellm synth`), and routers with them: predictions
from ceilings count them as even, which they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edgellm.bench.conditions import describe_machine
from edgellm.build.planned_speed import THIS_MACHINE, decoding, spot_of
from edgellm.build.planning import Question, plan
from edgellm.build.reduced_depth import PROMPT, PROMPT_TOKENS, Measured, Test, Types, measure
from edgellm.build.synth import synth
from edgellm.engines.gguf.header import read_header
from edgellm.measures.prediction import Model, error, prefill, with_even_routers
from edgellm.measures.traffic import shape_of
from edgellm.store.catalogue import load_recipe

SEQUENCES = (1, 8)


@dataclass(frozen=True)
class Case:
    name: str
    recipe: str
    kind: str
    layers: int | None = None  # None: all
    type_name: str | None = None

    @property
    def types(self) -> Types:
        return Types(self.type_name)


CASES = (
    Case("8b", "llm-jp-4-8b", "dense", 16),
    Case("32b-a3b", "llm-jp-4-32b-a3b", "mixture", 12),
    Case("33b", "llm-jp-4-33b", "dense", 8),
    Case("plamo-2-1b", "plamo-2-1b", "hybrid"),
    Case("plamo-3-8b", "plamo-3-nict-8b", "window", 12),
    Case("swallow-30b-a3b", "qwen3-swallow-30b-a3b", "mixture", 12),
    Case("tinyswallow", "tinyswallow-1.5b", "dense"),
    Case("sarashina-q8", "sarashina2.2-3b", "dense", None, "Q8_0"),
    Case("gpt-oss-20b", "gpt-oss-20b", "mixture", 8),
)


def run(case: Case, folder: Path, threads: int) -> dict[str, Any]:
    recipe = load_recipe(case.recipe)
    planned = plan(recipe, Question(case.type_name, layers=case.layers), "h200")
    layers = planned.layers
    path = folder / f"{case.name}.gguf"
    try:
        made = synth(recipe, path, type_name=case.type_name, layers=case.layers)
        by_ceilings = from_ceilings(path)
        # In turn with the shallow ones, since this machine's speed drifts by tens of percent within minutes.
        timed = measure(recipe, case.types, sequences=SEQUENCES, threads=threads, beside={layers: path})
    finally:
        path.unlink(missing_ok=True)
    rows = []
    for test, seconds in timed.seconds[layers].items():
        tokens = PROMPT_TOKENS if test == PROMPT else int(test)
        measured = tokens / seconds
        by_depth = tokens / timed.lines[test].at(layers)
        rows.append({
            "test": name_of(test), "measured_tokens_per_s": measured, "by_depth": by_depth,
            "by_depth_error": error(by_depth, measured), "by_ceilings": by_ceilings[test],
            "by_ceilings_error": error(by_ceilings[test], measured),
        })  # fmt: skip
    return {
        "case": case.name, "recipe": case.recipe, "kind": case.kind, "type": planned.type, "layers": layers,
        "file_bytes": made.size_bytes, "planned_file_bytes": planned.file_bytes, "rows": rows,
        "lines": lines_of(timed),
    }  # fmt: skip


def lines_of(timed: Measured) -> dict[str, dict[str, float]]:
    return {name_of(test): {"base_s": line.base, "layer_s": line.a_layer} for test, line in timed.lines.items()}


def from_ceilings(path: Path) -> dict[Test, float]:
    header = read_header(path)
    model = with_even_routers(Model(shape_of(header), header.of_architecture("block_count") or 0))
    machine = spot_of(THIS_MACHINE).machine
    assert machine is not None
    found: dict[Test, float] = {count: decoding(header, machine, model, count).tokens_per_s for count in SEQUENCES}
    return found | {PROMPT: prefill(machine, model, PROMPT_TOKENS).tokens_per_s}


def name_of(test: Test) -> str:
    if test == PROMPT:
        return f"pp{PROMPT_TOKENS}"
    return "tg" if test == 1 else f"tgx{test}"


def told(result: dict[str, Any]) -> None:
    same = "as planned" if result["file_bytes"] == result["planned_file_bytes"] else "NOT AS PLANNED"
    print(f"{result['case']} ({result['kind']}, {result['type']}, {result['layers']} layers): "
          f"{result['file_bytes']:,} bytes, {same}")  # fmt: skip
    for row in result["rows"]:
        print(
            f"  {row['test']:6} measured {row['measured_tokens_per_s']:8.2f}, by depth {row['by_depth']:8.2f} "
            f"({row['by_depth_error']:.1%}), by ceilings {row['by_ceilings']:8.2f} ({row['by_ceilings_error']:.1%})"
        )
    sys.stdout.flush()


def errors_of(results: Sequence[dict[str, Any]], decoding: bool, how: str) -> list[float]:
    return [r[how] for result in results for r in result["rows"] if r["test"].startswith("tg") == decoding]


def summary(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    found = {}
    for name, is_decode in (("decode", True), ("prefill", False)):
        for how in ("by_depth", "by_ceilings"):
            errors = errors_of(results, is_decode, f"{how}_error")
            found[f"{name} {how}"] = {"median": median(errors), "largest": max(errors)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="names of cases; all without one")
    parser.add_argument("--folder", type=Path, help="where there is room for one file at a time")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each usable core")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    arguments = parser.parse_args()
    if arguments.list:
        for case in CASES:
            print(f"{case.name}: {case.recipe}, {case.kind}, layers: {case.layers or 'all'}")
        return
    by_name = {case.name: case for case in CASES}
    if unknown := [name for name in arguments.cases if name not in by_name]:
        parser.error(f"there is no case {', '.join(unknown)}; there are {', '.join(by_name)}")
    chosen = [by_name[name] for name in arguments.cases or by_name]
    results = []
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for case in chosen:
            results.append(run(case, Path(folder), arguments.threads))
            told(results[-1])
            if arguments.out:  # after each, since all of them take half an hour
                write(results, arguments.out)
    for name, errors in summary(results).items():
        print(f"{name}: median error {errors['median']:.1%}, largest {errors['largest']:.1%}")


def write(results: Sequence[dict[str, Any]], out: Path) -> None:
    document = {
        "kind": "prediction", "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": describe_machine(), "results": results, "summary": summary(results),
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
