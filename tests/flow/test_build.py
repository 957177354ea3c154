"""`quantize` and `verify` as a user calls them, on the embedded model and on a random checkpoint."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.engines.gguf.imatrix_file import read_imatrix
from edgellm.store.catalogue import RECIPES


def edgellm(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgellm.cli.main", *map(str, words)], capture_output=True, text=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    done = edgellm("quantize", "tiny-ja", "--type", "Q8_0", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_quantize_prints_the_promised_keys(quantized: tuple[Path, dict[str, object]]) -> None:
    out, document = quantized
    assert document["bundle"] == str(out)
    assert Path(str(document["artifact"])).is_file()
    assert document["size_bytes"] == Path(str(document["artifact"])).stat().st_size
    assert 8.0 < float(str(document["bits_per_weight"])) < 9.0
    assert document["verdict"]["passed"] is True  # type: ignore[index]
    assert isinstance(document["reused"], list)


def test_a_second_run_reuses_every_step(quantized: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    done = edgellm("quantize", "tiny-ja", "--type", "Q8_0", "--out", tmp_path / "again", "--json")
    assert json.loads(done.stdout)["reused"] == ["convert", "calibrate", "quantize"]
    first = (quantized[0] / "model.gguf").read_bytes()
    assert (tmp_path / "again" / "model.gguf").read_bytes() == first


def test_the_manifest_tells_where_the_bundle_came_from(quantized: tuple[Path, dict[str, object]]) -> None:
    manifest = json.loads((quantized[0] / "manifest.json").read_text())
    assert [s["stage"] for s in manifest["lineage"]] == ["convert", "calibrate", "quantize"]
    assert manifest["licence"] == "Apache-2.0"
    assert all(s["versions"]["edgellm"] for s in manifest["lineage"])
    assert {"model.gguf", "tokenizer/tokenizer.json", "imatrix.gguf"} <= {f["path"] for f in manifest["files"]}


def test_verify_accepts_a_whole_bundle(quantized: tuple[Path, dict[str, object]]) -> None:
    done = edgellm("verify", quantized[0], "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] is True
    assert {"digests", "structure", "tokenizer round trip", "generates"} <= {c["name"] for c in document["checks"]}


def test_verify_with_a_reference_measures_fidelity(quantized: tuple[Path, dict[str, object]]) -> None:
    done = edgellm("verify", quantized[0], "--reference", "tiny-ja", "--json")
    assert done.returncode == 0, done.stderr
    check = next(c for c in json.loads(done.stdout)["checks"] if c["name"] == "mean KLD")
    assert 0 < check["value"] < check["limit"]


def test_one_altered_byte_is_found(quantized: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    bundle = shutil.copytree(quantized[0], tmp_path / "altered")
    with open(bundle / "model.gguf", "r+b") as f:
        f.seek(-1, os.SEEK_END)
        last = f.read(1)
        f.seek(-1, os.SEEK_END)
        f.write(bytes([last[0] ^ 1]))
    done = edgellm("verify", bundle)
    assert done.returncode == 3
    assert "model.gguf is altered" in done.stdout


def test_a_missing_file_is_found(quantized: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    bundle = shutil.copytree(quantized[0], tmp_path / "torn")
    (bundle / "tokenizer" / "tokenizer.json").unlink()
    assert edgellm("verify", bundle).returncode == 3


def test_a_bundle_of_another_model_fails_against_the_reference(
    quantized: tuple[Path, dict[str, object]], random_checkpoint: Path
) -> None:
    done = edgellm("verify", quantized[0], "--reference", random_checkpoint, "--json")
    assert done.returncode == 3
    assert "mean KLD" in [c["name"] for c in json.loads(done.stdout)["checks"] if not c["passed"]]


def strict_recipe(path: Path) -> None:
    """tiny-ja's recipe with a limit that Q2_K cannot keep."""
    text, changed = re.subn(
        r"(\[gates\.Q2_K\]\nmax_mean_kld = )[0-9.]+", r"\g<1>0.000001", (RECIPES / "tiny-ja.toml").read_text()
    )
    assert changed == 1
    path.write_text(text)


def test_a_gate_that_says_no_writes_no_bundle_and_ends_with_3(tmp_path: Path) -> None:
    strict_recipe(tmp_path / "strict.toml")
    done = edgellm("quantize", tmp_path / "strict.toml", "--type", "Q2_K", "--out", tmp_path / "out", "--json")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert document["bundle"] is None
    assert [c["name"] for c in document["verdict"]["checks"] if not c["passed"]] == ["mean KLD"]
    assert not (tmp_path / "out").exists()
    assert "mean KLD" in done.stderr


def test_gate_none_bundles_what_the_gate_would_refuse(tmp_path: Path) -> None:
    strict_recipe(tmp_path / "strict.toml")
    done = edgellm("quantize", tmp_path / "strict.toml", "--type", "Q2_K", "--gate", "none", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_a_gguf_made_elsewhere_is_quantized_too(quantized: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    from edgellm.engines.gguf.convert import convert

    convert(Path(str(Path(__file__).parents[2] / "src/edgellm/models/tiny-ja")), tmp_path / "base.gguf", "F16")
    done = edgellm("quantize", tmp_path / "base.gguf", "--type", "Q6_K", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert edgellm("verify", tmp_path / "out").returncode == 0


def test_a_tensor_type_reaches_the_file(tmp_path: Path) -> None:
    done = edgellm(
        "quantize", "tiny-ja", "--type", "Q4_K_M", "--tensor-type", r"^blk\.0\.ffn_down\.weight$=Q8_0",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = json.loads(edgellm("show", tmp_path / "out", "--json").stdout)
    assert next(t["type"] for t in shown["tensors"] if t["name"] == "blk.0.ffn_down.weight") == "Q8_0"


def test_quantize_refuses_a_folder_with_other_things_in_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = edgellm("quantize", "tiny-ja", "--type", "Q8_0", "--out", tmp_path)
    assert done.returncode == 2
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["quantize", "no-such-thing", "--out", "x"], 2, "no file or folder 'no-such-thing'"),
        (["quantize", "tiny-ja", "--type", "Q4_K_X", "--out", "x"], 2, "Q4_K"),
        (["verify", "no-such-bundle"], 1, "no-such-bundle"),
        (["bench", "tiny-ja", "--parallel", "zero"], 2, "--parallel"),
        (["quantize", "tiny-ja", "--format", "onnx", "--type", "Q4_K_M", "--out", "x"], 2, "ONNX"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_its_exit_code(
    words: list[str], code: int, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = edgellm(*words)
    assert done.returncode == code
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_calibrate_writes_a_matrix_for_every_matrix_of_the_layers(tmp_path: Path) -> None:
    done = edgellm("calibrate", "tiny-ja", "--out", tmp_path / "i.gguf", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["tokens"] > 15_000
    assert "blk.0.ffn_down.weight" in document["coverage"]
    assert set(document["coverage"].values()) == {1.0}


def test_bench_prints_the_promised_keys() -> None:
    words = ("--prompt-tokens", "64", "--decode-tokens", "8", "--parallel", "1,2", "--no-ceilings", "--json")
    done = edgellm("bench", "tiny-ja", *words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [r["test"] for r in document["results"]] == ["pp64", "tg8", "pp64x2", "tg8x2"]
    for result in document["results"]:
        rate = result["tokens_per_s"]
        assert 0 < rate["low"] <= rate["median"] <= rate["high"]
        assert result["characters_per_s"] > rate["median"]
    assert document["machine"]["cores"] >= 1


@pytest.fixture(scope="module")
def onnx_bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("bundles") / "onnx"
    done = edgellm("quantize", "tiny-ja", "--format", "onnx", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


@pytest.mark.onnx
def test_an_onnx_bundle_predicts_as_the_f32_gguf_does(onnx_bundle: tuple[Path, dict[str, object]]) -> None:
    """Two engines, one checkpoint: the divergence between them is rounding."""
    manifest = json.loads((onnx_bundle[0] / "manifest.json").read_text())
    assert manifest["format"] == "onnx"
    assert manifest["fidelity"]["mean_kld"]["high"] < 1e-6


@pytest.mark.onnx
def test_an_onnx_bundle_is_verified_run_and_benched_like_any_other(onnx_bundle: tuple[Path, dict[str, object]]) -> None:
    bundle = onnx_bundle[0]
    assert edgellm("verify", bundle).returncode == 0
    answer = edgellm("run", bundle, "日本の首都はどこですか。", "--temperature", "0", "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["usage"]["completion_tokens"] > 0
    short = ("--prompt-tokens", "16", "--decode-tokens", "4", "--repeat", "1", "--no-ceilings")
    timed = edgellm("bench", bundle, *short, "--json")
    assert timed.returncode == 0, timed.stderr
    found = json.loads(timed.stdout)
    assert [row["bytes_per_token"] for row in found["results"]] == [None, None]  # its files do not tell
    assert found["model"]["sha256"].startswith("sha256:")
    assert found["results"][1]["characters_per_s"] > 0


def test_run_takes_the_embedded_checkpoint_itself_and_answers_in_japanese() -> None:
    done = edgellm("run", "tiny-ja", "「大きい」の反対の言葉は何ですか。", "--temperature", "0", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert "小さい" in document["text"]
    assert document["reasoning"]
    assert document["usage"]["completion_tokens"] > document["usage"]["prompt_tokens"] / 2


def test_calibration_on_the_model_s_own_text_makes_another_matrix(tmp_path: Path) -> None:
    for text in ("self", "shipped"):
        done = edgellm("calibrate", "tiny-ja", "--text", text, "--out", tmp_path / f"{text}.gguf")
        assert done.returncode == 0, done.stderr
    own, shipped = (read_imatrix(tmp_path / f"{text}.gguf").values() for text in ("self", "shipped"))
    assert all((own[name] != shipped[name]).any() for name in shipped)


def test_an_alias_of_a_type_is_held_to_the_gate_of_the_type(tmp_path: Path) -> None:
    done = edgellm("quantize", "tiny-ja", "--type", "q4_k", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    checks = {c["name"]: c for c in json.loads(done.stdout)["verdict"]["checks"]}
    assert checks["mean KLD"]["limit"] == 0.02
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["type"] == "Q4_K_M"


def test_the_working_folder_itself_can_become_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    done = edgellm("quantize", "tiny-ja", "--type", "F16", "--out", ".")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--type", "F16", "--calibration", "self"], "not quantized"),
        (["--format", "onnx", "--tensor-type", "x=Q8_0"], "no --tensor-type"),
        (["--type", "Q4_K_M", "--tensor-type", "ffn_down=Q9"], "Q9"),
        (["--calibration", "no-such-file.txt"], "no-such-file.txt"),
    ],
)
def test_what_could_only_be_ignored_is_refused_before_any_work(words: list[str], part: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    done = edgellm("quantize", "tiny-ja", *words, "--out", tmp_path / "out", EDGELLM_WORK=str(work))
    assert done.returncode in (1, 2)
    assert part in done.stderr
    assert not work.exists()


def test_a_folder_with_the_name_of_the_embedded_model_does_not_get_its_licence(tmp_path: Path, tiny_ja: Path) -> None:
    copy = shutil.copytree(tiny_ja, tmp_path / "tiny-ja")
    done = edgellm("quantize", copy, "--type", "Q8_0", "--calibration", "none", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["licence"] != "Apache-2.0"
    assert manifest["recipe"] == "default"


def test_a_manifest_that_leads_out_of_its_bundle_is_refused(
    quantized: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    bundle = shutil.copytree(quantized[0], tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest |= {"artifact": "../elsewhere.gguf", "files": []}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = edgellm("verify", bundle)
    assert done.returncode == 1
    assert "damaged" in done.stderr


def test_a_bundle_with_another_tokenizer_does_not_pass(
    quantized: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    """Even when its digests are those of the manifest: the pieces must be those of the artifact."""
    from edgellm.store import digest

    bundle = shutil.copytree(quantized[0], tmp_path / "bundle")
    file = bundle / "tokenizer" / "tokenizer.json"
    document = json.loads(file.read_text())
    vocabulary = document["model"]["vocab"]
    vocabulary[5000][0], vocabulary[5001][0] = vocabulary[5001][0], vocabulary[5000][0]
    file.write_text(json.dumps(document, ensure_ascii=False))
    manifest = json.loads((bundle / "manifest.json").read_text())
    entry = next(e for e in manifest["files"] if e["path"] == "tokenizer/tokenizer.json")
    entry.update(sha256=digest.of_file(file), bytes=file.stat().st_size)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    for words in ([], ["--reference", "tiny-ja"]):
        done = edgellm("verify", bundle, *words, "--json")
        assert done.returncode == 3
        assert "vocabulary pieces" in [c["name"] for c in json.loads(done.stdout)["checks"] if not c["passed"]]
