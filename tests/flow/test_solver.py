"""Types chosen by measured sensitivity lose less than llama.cpp's mixture of the same size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgellm.build.goal import Goal
from edgellm.build.order import gate_of
from edgellm.build.pipeline import Base, Product, make_artifact, make_base, ship
from edgellm.build.solving import check_size, choose_types
from edgellm.cli.quantize import document
from edgellm.engines import open_runtime
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.target import resolve
from edgellm.measures.fidelity import WINDOW_TOKENS, kld_change, tallies
from edgellm.measures.fidelity_figures import summary
from edgellm.records.results import Check, Fidelity
from edgellm.records.sensitivity import Solution, mixture_name
from edgellm.records.statistics import Interval
from edgellm.stages.calibrate import IMATRIX
from edgellm.stages.sensitivity import Effort
from edgellm.stages.verify import check_structure, verification_documents
from edgellm.store.catalogue import TEXTS, load_recipe
from edgellm.store.work import WorkFolder, default_root

CALIBRATION = str(TEXTS / "calibration" / "everyday.txt")
LITTLE = Effort(tokens=512, layers=3, anchors=("Q4_K",))


def solved(base: Base, stock: Product, effort: Effort, calibration: str) -> Product:
    goal = Goal(size=stock.artifact.stat().st_size)
    return make_artifact(
        base, "gguf", "Q8_0", {}, calibration, WorkFolder(default_root()), goal=goal, effort=effort
    )  # fmt: skip


def stock_of(base: Base, type_name: str, calibration: str) -> Product:
    work = WorkFolder(default_root())
    return make_artifact(base, "gguf", type_name, {}, calibration, work, allow_fallback=True)


@dataclass(frozen=True)
class Pair:
    """A mixture of llama.cpp's, and what was chosen for its size."""

    stock: Product
    solved: Product


@dataclass(frozen=True)
class Compared:
    change: Interval  # of the mean KL divergence on verification text, from the stock file to the solved one
    fidelity: Fidelity  # of the solved one


def compare(base: Base, pairs: Mapping[str, Pair], every: int = 1) -> dict[str, Compared]:
    """On every so manieth document of the verification text."""
    options = RuntimeOptions(context_tokens=WINDOW_TOKENS)
    files = {f"{n} {kind}": getattr(p, kind).artifact for n, p in pairs.items() for kind in ("stock", "solved")}
    with ExitStack() as opened:
        reference, *artifacts = [
            opened.enter_context(closing(open_runtime("gguf", path, options))) for path in (base.gguf, *files.values())
        ]
        named = dict(zip(files, artifacts, strict=True))
        own, found, documents = tallies(reference, named, verification_documents(base.tokenizer)[::every])
    return {
        n: Compared(
            kld_change(found[f"{n} stock"], found[f"{n} solved"]), summary(found[f"{n} solved"], own, documents)
        )
        for n in pairs
    }


@pytest.fixture(scope="module")
def base() -> Base:
    return make_base(resolve("tiny-ja"), WorkFolder(default_root()))


@pytest.fixture(scope="module")
def pairs(base: Base) -> dict[str, Pair]:
    """The second one is chosen by the measurement that the first one made."""
    found = {}
    for type_name in ("Q4_K_M", "Q3_K_M"):
        stock = stock_of(base, type_name, CALIBRATION)
        found[type_name] = Pair(stock, solved(base, stock, LITTLE, CALIBRATION))
    return found


@pytest.fixture(scope="module")
def chosen(pairs: dict[str, Pair]) -> Product:
    return pairs["Q4_K_M"].solved


@pytest.fixture(scope="module")
def compared(base: Base, pairs: dict[str, Pair]) -> dict[str, Compared]:
    return compare(base, pairs, every=4)


def solution_of(product: Product) -> Solution:
    return Solution.model_validate_json(product.extras["solution.json"].read_text())


@pytest.mark.parametrize("type_name", ["Q4_K_M", "Q3_K_M"])
def test_solved_types_lose_less_than_the_mixture_at_its_size(
    type_name: str, pairs: dict[str, Pair], compared: dict[str, Compared]
) -> None:
    pair, found = pairs[type_name], compared[type_name]
    assert pair.solved.artifact.stat().st_size <= pair.stock.artifact.stat().st_size
    assert found.change.high < 0
    assert pair.solved.predicted_mean_kld == pytest.approx(found.fidelity.mean_kld.value, rel=0.5)


def test_a_file_larger_than_was_asked_for_is_refused(chosen: Product) -> None:
    solution = solution_of(chosen)
    check_size(solution, chosen.artifact)
    less = solution.model_copy(update={"most_bytes": solution.size_bytes - 1})
    with pytest.raises(EngineFailed, match=r"where .* are the most"):
        check_size(less, chosen.artifact)


def test_the_solution_says_what_every_tensor_costs(chosen: Product) -> None:
    solution = solution_of(chosen)
    assert solution.size_bytes == chosen.artifact.stat().st_size
    assert solution.predicted_mean_kld == pytest.approx(sum(c.predicted_kld for c in solution.choices))
    report = json.loads(chosen.extras["quantize.json"].read_text())
    assert {t["name"]: t["got"] for t in report["tensors"] if t["got"] != t["source"]} == solution.tensor_types
    assert {t["name"] for t in report["tensors"] if t["got"] != t["requested"]} == set()


def test_another_size_uses_the_same_measurement(base: Base, chosen: Product) -> None:
    other = choose_types(
        base.gguf, base.digest, base.tokenizer, Goal(bits_per_weight=4.25), {}, CALIBRATION, chosen.extras[IMATRIX],
        WorkFolder(default_root()), effort=LITTLE,
    )  # fmt: skip
    assert [m.reused for m in other.steps] == [True, False]
    assert 4.2 < other.solution.bits_per_weight <= 4.25
    assert other.solution.predicted_mean_kld > solution_of(chosen).predicted_mean_kld


@pytest.mark.parametrize(("size", "words"), [(900_000, "the smallest that can be made"), (10**9, "is more than")])
def test_a_size_that_cannot_be_met_is_told_with_the_smallest(
    size: int, words: str, base: Base, chosen: Product
) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        make_artifact(
            base, "gguf", "Q8_0", {}, CALIBRATION, WorkFolder(default_root()), goal=Goal(size=size), effort=LITTLE
        )
    assert "bits per weight)" in str(refused.value)


def test_the_mixture_is_checked_as_what_it_says_it_is(chosen: Product) -> None:
    bits = solution_of(chosen).bits_per_weight
    assert chosen.type == f"mixed-{bits:.2f}bpw"
    for type_name, passed in ((chosen.type, True), (mixture_name(bits + 0.1), False)):
        checks = check_structure(chosen.artifact, "gguf", type_name)
        assert [c.passed for c in checks if c.name == "tensor types"] == [passed]


def test_a_bundle_for_a_size_says_how_it_was_chosen(
    base: Base, chosen: Product, compared: dict[str, Compared], tmp_path: Path
) -> None:
    recipe = load_recipe("default")
    gate, generates = gate_of(recipe, chosen.type), Check(name="generates", passed=True)
    fidelity = compared["Q4_K_M"].fidelity
    built = ship(base, chosen, recipe, gate, fidelity, generates, tmp_path / "out")
    printed = json.loads(document(built))
    assert printed["bits_per_weight"] == pytest.approx(solution_of(chosen).bits_per_weight)
    assert printed["predicted_mean_kld"] == chosen.predicted_mean_kld
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["type"], manifest["gate"]) == (chosen.type, recipe.gates["default"].model_dump())
    assert "solution.json" in [f["path"] for f in manifest["files"]]
    assert [s["stage"] for s in manifest["lineage"]][-3:] == ["sensitivity", "solve", "quantize"]


def test_two_answers_to_the_same_question_are_a_usage_error(tmp_path: Path) -> None:
    command = ["quantize", "tiny-ja", "--type", "Q4_K_M", "--target-bpw", "4.5", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "edgellm", *command], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 2
    assert "--type and --target-bpw each decide the types" in done.stderr


@pytest.mark.parametrize("type_name", ["Q4_K_M", "Q3_K_M"])
def test_solved_types_of_a_trained_mixture_of_experts_lose_less_too(type_name: str) -> None:
    checkpoint = os.environ.get("EDGELLM_TINY_MOE")
    if not checkpoint:
        pytest.skip(
            "EDGELLM_TINY_MOE names no trained checkpoint; make one with "
            "`python tools/train_tiny_moe.py --corpus FOLDER --work FOLDER --out FOLDER`"
        )
    base = make_base(resolve(checkpoint), WorkFolder(default_root()))
    stock = stock_of(base, type_name, "shipped")
    pair = Pair(stock, solved(base, stock, Effort(), "shipped"))
    assert pair.solved.artifact.stat().st_size <= stock.artifact.stat().st_size
    assert compare(base, {type_name: pair})[type_name].change.high < 0
