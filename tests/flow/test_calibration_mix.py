"""Calibration on a mix of sources, coverage of experts, fallbacks and split files, as a user asks for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgellm.engines.gguf.imatrix_file import read_imatrix
from edgellm.store import catalogue
from forking_cli import Done, ForkingCli, forking_cli
from quick_build import one_core, quick_checkpoint
from tiny_decoders import random_decoder

MAX_BYTES = 44_000


@pytest.fixture(scope="module")
def edgellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkingCli]:
    with one_core(), forking_cli(tmp_path_factory.mktemp("said")) as cli:
        yield cli


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "mine.txt"
    path.write_text("".join(f"きょうは{i}番目の日です。\n" for i in range(300)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_decoder(tmp_path_factory.mktemp("experts") / "checkpoint", "Qwen3MoeForCausalLM")


@pytest.fixture(scope="module")
def split(edgellm: ForkingCli, text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A bundle in parts, calibrated on a mix of a file and the text that ships."""
    folder = tmp_path_factory.mktemp("split")
    done = edgellm(
        "quantize", quick_checkpoint(folder / "checkpoint"), "--type", "Q8_0", "--calibration", f"{text}=3",
        "--calibration", "shipped", "--gate", "none", "--split-max-size", MAX_BYTES, "--out", folder / "out", "--json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    return folder / "out", done


def test_a_mix_is_named_in_the_matrix_by_its_sources_and_never_by_a_path(split: tuple[Path, Done], text: Path) -> None:
    found = read_imatrix(split[0] / "imatrix.gguf")
    assert found.datasets[1] == "shipped"
    assert found.datasets[0].startswith("sha256:")
    step = next(s for s in json.loads((split[0] / "manifest.json").read_text())["lineage"] if s["stage"] == "calibrate")
    assert step["settings"]["weights"] == [3.0, 1.0]


def test_a_bundle_in_parts_names_its_first_one_and_is_verified_like_any_other(
    split: tuple[Path, Done], edgellm: ForkingCli
) -> None:
    out, document = split[0], json.loads(split[1].stdout)
    parts = sorted(out.glob("model-*.gguf"))
    assert len(parts) > 2
    assert all(part.stat().st_size <= MAX_BYTES for part in parts)
    assert document["artifact"] == str(parts[0])
    assert document["size_bytes"] == sum(part.stat().st_size for part in parts)
    assert json.loads((out / "manifest.json").read_text())["artifact"] == parts[0].name
    verified = edgellm("verify", out)
    assert verified.code == 0, verified.stderr


def test_the_first_part_is_a_target_and_another_one_is_refused_with_its_name(
    split: tuple[Path, Done], edgellm: ForkingCli, text: Path, tmp_path: Path
) -> None:
    parts = [Path(shutil.copy(part, tmp_path)) for part in sorted(split[0].glob("model-*.gguf"))]
    shown = json.loads(edgellm("show", parts[0], "--json").stdout)
    assert (shown["name"], shown["size_bytes"]) == ("model", sum(part.stat().st_size for part in parts))
    calibrated = edgellm("calibrate", parts[0], "--text", text, "--out", tmp_path / "i.gguf")
    assert calibrated.code == 0, calibrated.stderr
    over_itself = edgellm("calibrate", parts[0], "--text", text, "--out", parts[1])
    assert (over_itself.code, "would be overwritten" in over_itself.stderr) == (2, True)
    wrong = edgellm("show", parts[1])
    assert wrong.code == 2
    assert f"name its first part, {parts[0]}" in wrong.stderr
    parts[2].unlink()
    missing = edgellm("show", parts[0])
    assert (missing.code, f"{parts[2]} is missing" in missing.stderr) == (1, True)


def test_text_that_fidelity_is_measured_on_is_refused_before_any_work(
    edgellm: ForkingCli, text: Path, tmp_path: Path
) -> None:
    copied = catalogue.read_documents(catalogue.TEXTS / "verification")[0]
    (tmp_path / "copied.txt").write_text(copied, encoding="utf-8")
    for words in (
        ("calibrate", "tiny-ja", "--text", text, "--text", tmp_path / "copied.txt"),
        ("quantize", "tiny-ja", "--calibration", tmp_path / "copied.txt"),
    ):
        done = edgellm(*words, "--out", tmp_path / "out")
        assert done.code == 2
        assert f"document 1 of {tmp_path / 'copied.txt'} holds text that fidelity is measured on" in done.stderr
        assert not (tmp_path / "out").exists()


def test_experts_are_counted_and_the_missed_ones_named_also_when_the_step_is_reused(
    edgellm: ForkingCli, experts: Path, text: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        done = edgellm("calibrate", experts, "--text", text, "--out", tmp_path / "i.gguf", "--json")
        assert done.code == 0, done.stderr
        document = json.loads(done.stdout)
        assert {layer: len(counts) for layer, counts in document["experts"].items()} == {"0": 16, "1": 16}
        assert all(sum(counts) == 4 * document["tokens"] for counts in document["experts"].values())
    words = edgellm(
        "calibrate", experts, "--text", text, "--out", tmp_path / "i.gguf", "--coverage-threshold", 10**6
    ).stdout  # fmt: skip
    assert "32 of 32 experts saw fewer than 1000000 tokens: layer 0 expert 0 (" in words


def test_required_coverage_ends_with_3_and_leaves_nothing(
    edgellm: ForkingCli, experts: Path, text: Path, tmp_path: Path
) -> None:
    rule = ("--coverage-threshold", 10**6, "--require-coverage", 0.5, "--out", tmp_path / "out", "--json")
    calibrated = edgellm("calibrate", experts, "--text", text, *rule)
    assert (calibrated.code, (tmp_path / "out").exists()) == (3, False)
    assert "reached 0.0% of the experts where 50.0% are required" in calibrated.stderr
    said = json.loads(calibrated.stdout)
    assert (said["path"], said["expert_coverage"], len(said["missed"])) == (None, 0.0, 32)
    assert said["tokens"] > 0
    quantized = edgellm("quantize", experts, "--type", "Q8_0", "--calibration", text, *rule)
    assert (quantized.code, (tmp_path / "out").exists()) == (3, False)
    checks = json.loads(quantized.stdout)["verdict"]["checks"]
    assert [(c["name"], c["passed"], c["value"], c["limit"]) for c in checks] == [("expert coverage", False, 0.0, 0.5)]


def test_a_mixture_that_does_not_fit_the_experts_is_refused_and_a_fitting_type_makes_the_bundle(
    edgellm: ForkingCli, experts: Path, text: Path, tmp_path: Path
) -> None:
    words = ("quantize", experts, "--calibration", text, "--gate", "none", "--out", tmp_path / "out", "--json")
    refused = edgellm(*words, "--type", "Q4_K_M")
    assert (refused.code, (tmp_path / "out").exists()) == (2, False)
    assert "blk.0." in refused.stderr
    assert "--tensor-type" in refused.stderr
    assert "calibrate" not in refused.stderr  # it is told before the long work
    made = edgellm(*words, "--type", "Q8_0")
    assert made.code == 0, made.stderr
    check = next(c for c in json.loads(made.stdout)["verdict"]["checks"] if c["name"] == "expert coverage")
    assert (check["passed"], check["limit"]) == (True, None)
    assert "of 32 experts" in check["detail"]
    report = json.loads((tmp_path / "out" / "quantize.json").read_text())
    assert {t["reason"] for t in report["tensors"]} == {"the mixture Q8_0", "stays as it is in the source"}
