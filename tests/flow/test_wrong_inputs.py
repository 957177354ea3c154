"""Wrong inputs as a user meets them: one sentence with what, where and what to do, the right exit code, no trace.

A row is an input and the verbs that meet it; every call is a process of its own (see `forking_cli`).
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

import wrong_inputs as wrong
from edgellm.store.catalogue import RECIPES
from edgellm.store.digest import of_file
from forking_cli import Done, ForkingCli, forking_cli
from wrong_inputs import COLUMNS, DIMENSIONS, OFFSET, Q_PROJ, ROWS, TYPE, Good, Spoiler

WORDS: dict[str, tuple[str, ...]] = {
    "show": ("show", "TARGET"),
    "tokenize": ("tokenize", "TARGET", "犬"),
    "run": ("run", "TARGET", "こんにちは", "--max-tokens", "2"),
    "bench": ("bench", "TARGET", "--prompt-tokens", "8", "--decode-tokens", "2", "--repeat", "1"),
    "serve": ("serve", "TARGET", "--port", "0"),
    "verify": ("verify", "TARGET"),
    "quantize": ("quantize", "TARGET", "--type", "Q8_0", "--calibration", "none", "--out", "OUT"),
    "build": ("quantize", "TARGET", "--out", "OUT"),  # of a recipe, which says the rest
    "onnx": ("quantize", "TARGET", "--format", "onnx", "--out", "OUT"),
    "calibrate": ("calibrate", "TARGET", "--out", "OUT"),
    "calibrate-by": ("calibrate", "tiny-ja", "--text", "TARGET", "--out", "OUT"),
    "quantize-by": ("quantize", "tiny-ja", "--calibration", "TARGET", "--out", "OUT"),
}
LOADING = "run serve quantize"
ALL = f"show tokenize bench calibrate {LOADING}"
CONVERTING = "run quantize"
READING = "show run quantize"
# Lines about room on the disk, and about work that took long or was there already; see `cli/progress.py`.
PROGRESS = re.compile(
    r"disk: .+|loaded .+|(?!edgellm: ).+: (reused|done, .+|(\S+(/\S+ \(\d+%\))?, )?\d+ (s|min)(, .+ left)?)"
)
WHAT_TO_DO = re.compile(r"; \S.+|: check .+|\?$")
NO_SENTENCE = ("Traceback", 'File "', "did not expect")

RECIPE = (RECIPES / "tiny-ja.toml").read_text(encoding="utf-8")


def recipe(old: str, new: str) -> Spoiler:
    assert old in RECIPE
    return wrong.file("mine.toml", RECIPE.replace(old, new))


Row = tuple[str, Spoiler, str, int, tuple[str, ...]]
GGUFS: list[Row] = [
    ("empty", wrong.file("x.gguf", b""), ALL, 1, ("x.gguf", "is empty")),
    ("text", wrong.file("x.gguf", "これは文章です。"), ALL, 1, ("x.gguf", "not a GGUF file")),
    ("cut in its magic", wrong.gguf_cut(lambda begin, size: 3), "show run", 1, ("not a GGUF file",)),
    ("cut in its counts", wrong.gguf_cut(lambda begin, size: 20), "show run", 1, ("damaged", "byte 16 of 20")),
    ("cut in its vocabulary", wrong.gguf_cut(lambda begin, size: 99_000), READING, 1, ("damaged", "of 99,000")),
    ("cut in its index", wrong.gguf_cut(lambda begin, size: begin - 99), READING, 1, ("damaged",)),
    ("cut in its weights", wrong.gguf_cut(lambda begin, size: begin + 99), READING, 1, ("cut short", "token_embd")),
    ("cut at its last byte", wrong.gguf_cut(lambda begin, size: size - 1), ALL, 1, ("cut short", "output.weight")),
    ("offset past the end", wrong.gguf_index(OFFSET, "<Q", 1 << 40), READING, 1, ("attn_q.weight",)),
    ("offset of another", wrong.gguf_index(OFFSET, "<Q", 0), READING, 1, ("attn_q.weight", "is due")),
    ("lying size", wrong.gguf_index(ROWS, "<Q", 63), READING, 1, ("attn_k.weight", "is due")),
    ("size beyond all", wrong.gguf_index(COLUMNS, "<Q", 1 << 62), READING, 1, ("attn_q.weight",)),
    ("5 dimensions", wrong.gguf_index(DIMENSIONS, "<I", 5), READING, 1, ("5 dimensions",)),
    ("1 dimension", wrong.gguf_index(DIMENSIONS, "<I", 1), READING, 1, ("attn_q.weight",)),
    ("type unknown", wrong.gguf_index(TYPE, "<I", 200), READING, 1, ("type number 200",)),
    ("two tokens alike", wrong.gguf_values({"tokenizer.ggml.tokens": lambda old: [*old[:99], *old[98:-1]]}), ALL, 1,
     ("vocabulary", "other.gguf")),
    ("no scores", wrong.gguf_values({"tokenizer.ggml.scores": None}), READING, 1, ("other.gguf", "no scores")),
    ("BOS beyond", wrong.gguf_values({"tokenizer.ggml.bos_token_id": 9999}), READING, 1, ("bos", "9999")),
    ("token of a kind 77", wrong.gguf_values({"tokenizer.ggml.token_type": lambda old: [77, *old[1:]]}), READING,
     1, ("kind 77",)),
    ("vocabulary too short", wrong.gguf_values({f"tokenizer.ggml.{key}": lambda old: old[:8000] for key in (
        "tokens", "scores", "token_type")}), "run serve", 1, ("token_embd.weight",)),
    ("chat template", wrong.gguf_values({"tokenizer.chat_template": "{% if x %}"}), "show run serve quantize", 1,
     ("other.gguf", "chat template")),
    ("architecture unknown", wrong.gguf_values({"general.architecture": "llama9"}), LOADING, 2,
     ("'llama9'", "near are llama")),
    ("100,000 layers", wrong.gguf_values({"llama.block_count": 100_000}), LOADING, 1, ("llama.block_count", "100000")),
    ("3 layers", wrong.gguf_values({"llama.block_count": 3}), "run serve", 1, ("blk.1.attn_norm.weight",)),
    ("epsilon NaN", wrong.gguf_values({"llama.attention.layer_norm_rms_epsilon": float("nan")}), LOADING, 1, ("nan",)),
    ("no context", wrong.gguf_values({"llama.context_length": 0}), LOADING, 1, ("llama.context_length",)),
    ("weight missing", wrong.gguf_values({}, lambda name: name.replace("output_norm", "input_norm")),
     "run serve", 1, ("'output_norm.weight'",)),
    ("NaN", wrong.gguf_weights(float("nan")), "quantize", 1, ("token_embd.weight",)),
    ("importance matrix", wrong.imatrix, f"tokenize calibrate {LOADING}", 2, ("imatrix.gguf", "no model")),
    ("part of a model", wrong.gguf_values({"general.type": "mmproj"}), LOADING, 2, ("other.gguf", "mmproj")),
]  # fmt: skip
EMPTY_TEMPLATE = "{% for m in messages %}"
CHECKPOINTS: list[Row] = [
    ("shard missing", wrong.checkpoint(lambda folder: wrong.sharded(folder).unlink()), f"show {LOADING}", 1,
     ("model-00002-of-00002.safetensors", "index.json")),
    ("shard of another", wrong.checkpoint(wrong.shard_twice), "show", 1, ("does not hold the tensor",)),
    ("index no JSON", wrong.checkpoint(lambda folder: wrong.sharded(folder).with_name(
        "model.safetensors.index.json").write_text("{")), "show", 1, ("index.json", "JSON")),
    ("shard cut", wrong.shard_bytes(lambda data: data[:-5]), READING, 1, ("cut short", "tensor")),
    ("shard empty", wrong.shard_bytes(lambda data: b""), READING, 1, ("model.safetensors", "cut short")),
    ("header too long", wrong.shard_bytes(lambda data: struct.pack("<Q", 1 << 40) + data[8:]), READING, 1,
     ("model.safetensors", "header")),
    ("header no JSON", wrong.shard_bytes(lambda data: data[:8] + b"?" + data[9:]), READING, 1, ("JSON",)),
    ("offsets past the end", wrong.shard_header(data_offsets=[1 << 40, (1 << 40) + 16384]), "show quantize", 1,
     (Q_PROJ, "cut short")),
    ("offsets of another", wrong.shard_header(data_offsets=[0, 16384]), "show quantize", 1, ("is due",)),
    ("shape against bytes", wrong.shard_header(shape=[64, 63]), "show quantize", 1, (Q_PROJ, "contradicts")),
    ("dtype unknown", wrong.shard_header(dtype="F13"), "show quantize", 1, (Q_PROJ, "F13", "BF16")),
    ("whole numbers", wrong.shard_header(dtype="I32"), CONVERTING, 1, (Q_PROJ, "I32")),
    ("tensor missing", wrong.weights(lambda tensors: tensors.pop(Q_PROJ)), LOADING, 1, ("lacks", Q_PROJ)),
    ("tensor too many", wrong.weights(lambda tensors: tensors.update(more=np.ones(3))), CONVERTING, 1, ("more",)),
    ("tensor of another shape", wrong.weights(lambda tensors: tensors.update({Q_PROJ: np.ones((64, 32))})), CONVERTING,
     1, (Q_PROJ, "(64, 32)", "(64, 64)")),
    ("NaN in F32", wrong.one_weight("<f4", np.nan, 2, 5), f"{CONVERTING} onnx bench calibrate", 1,
     (Q_PROJ, "nan at [2, 5]")),
    ("NaN in F16", wrong.one_weight("<f2", np.nan, 63, 0), "quantize", 1, (Q_PROJ, "nan at [63, 0]")),
    ("Inf in BF16", wrong.one_weight("BF16", np.inf, 0, 63), "quantize run", 1, (Q_PROJ, "inf at [0, 63]")),
    ("too large for F16", wrong.one_weight("<f4", 1e9, 0, 0), "run bench", 1, ("blk.0.attn_q.weight", "too large")),
    ("config.json missing", wrong.beside("config.json"), READING, 1, ("config.json",)),
    ("config.json no JSON", wrong.beside("config.json", content="{,}"), READING, 1, ("config.json",)),
    ("config.json no text", wrong.beside("config.json", content=b"\xff\xfe{"), "show run", 1, ("config.json",)),
    ("vocabulary larger than the embedding", wrong.config(vocab_size=9000), LOADING, 1, ("(9000, 64)",)),
    ("vocabulary of no size", wrong.config(vocab_size="many"), READING, 1, ('"vocab_size"', "'many'")),
    ("a billion layers", wrong.config(num_hidden_layers=10**9), CONVERTING, 1, ("lacks the tensor",)),
    ("epsilon a word", wrong.config(rms_norm_eps="small"), CONVERTING, 1, ('"rms_norm_eps"', "'small'")),
    ("rope a list", wrong.config(rope_scaling={"rope_type": ["yarn"]}), CONVERTING, 2, ("rope scaling",)),
    ("class unknown", wrong.config(architectures=["MambaForCausalLM"]), f"{CONVERTING} onnx", 2,
     ("MambaForCausalLM", "LlamaForCausalLM")),
    ("tokenizer missing", wrong.beside("tokenizer.model", "tokenizer.json"), "tokenize run quantize", 1,
     ("tokenizer",)),
    ("tokenizer.model garbage", wrong.beside("tokenizer.model", content=b"\0?" * 99), CONVERTING, 1,
     ("tokenizer.model",)),
    ("tokenizer.json garbage", wrong.beside("tokenizer.json", content="[1]"), READING, 1, ("tokenizer",)),
    ("tokenizer.json no text", wrong.beside("tokenizer.json", content=b"\xff"), "show run", 1, ("tokenizer",)),
    ("tokenizer_config.json garbage", wrong.beside("tokenizer_config.json", content='{"added_tokens_decoder": [1]}'),
     "show run", 1, ("token",)),
    ("template", wrong.beside("chat_template.jinja", content=EMPTY_TEMPLATE), "show run serve quantize", 1,
     ("chat_template.jinja", "endfor")),
    ("template no text", wrong.beside("chat_template.jinja", content=b"\xff"), "show run", 1, ("checkpoint",)),
    ("advice of no kind", wrong.beside("generation_config.json", content='{"temperature": "hot"}'), "run quantize", 1,
     ("generation_config.json",)),
    ("model card no YAML", wrong.beside("README.md", content="---\nlicense: [\n---\n"), CONVERTING, 1,
     ("README.md",)),
]  # fmt: skip
RECIPES_AND_TEXTS: list[Row] = [
    ("key misspelt", recipe("type =", "typ ="), "build show", 2, ("'quantization.typ'", "did you mean 'type'?")),
    ("table misspelt", recipe("[source]", "[sorce]"), "build", 2, ("'sorce'", "did you mean 'source'?")),
    ("value of another kind", recipe("max_mean_kld = ", "max_mean_kld = 'x' #"), "build", 2,
     ("gates.F32.max_mean_kld",)),
    ("limit NaN", recipe("max_mean_kld = ", "max_mean_kld = nan #"), "build", 2, ("gates.F32.max_mean_kld",)),
    ("gate for no type", recipe("[gates.Q4_K_M]", "[gates.Q4_KM]"), "build", 2, ("Q4_KM", "did you mean Q4_K_M")),
    ("type unknown", recipe('"Q4_K_M"', '"Q4_KM"'), "build", 2, ("'Q4_KM'", "did you mean Q4_K_M")),
    ("checkpoint unknown", recipe("embedded:tiny-ja", "embedded:tiny-jp"), "build run", 2, ("embedded:tiny-jp",)),
    ("no TOML", wrong.file("mine.toml", "これは文章です。"), "build show run", 2, ("mine.toml", "TOML")),
    ("no UTF-8", wrong.file("mine.toml", b"\xff\xfename"), "build", 2, ("mine.toml", "utf-8")),
    ("of a newer form", recipe("schema_version = 1", "schema_version = 2"), "build", 2, ("schema_version",)),
    ("text no UTF-8", wrong.file("mine.txt", b"\xff\xfe"), "calibrate-by quantize-by", 1, ("mine.txt", "UTF-8")),
    ("text empty", wrong.file("mine.txt", " \n"), "calibrate-by quantize-by", 1, ("mine.txt", "no text")),
    ("text missing", lambda folder, good: folder / "mine.txt", "calibrate-by quantize-by", 1, ("mine.txt",)),
    ("name misspelt", lambda folder, good: Path("tiny-jp"), ALL, 2, ("'tiny-jp'", "did you mean 'tiny-ja'?")),
    ("path misspelt", lambda folder, good: good.gguf.with_name("modle.gguf"), ALL, 2, ("did you mean", "model.gguf'?")),
    ("no kind of model", wrong.file("model.bin", b"\0"), ALL, 2, ("model.bin",)),
    ("empty folder", lambda folder, good: folder, ALL, 2, ("manifest.json",)),
]  # fmt: skip
BUNDLES: list[Row] = [
    ("file missing", wrong.bundle(lambda folder: (folder / "tokenizer" / "tokenizer.json").unlink()), "verify", 3,
     ("tokenizer/tokenizer.json is missing",)),
    ("file altered", wrong.bundle(lambda folder: (folder / "model.gguf").write_bytes(b"GGUF")), "verify", 3,
     ("model.gguf is altered",)),
    ("file too many", wrong.bundle(lambda folder: (folder / "more.txt").write_text("x")), "verify", 3,
     ("more.txt is not in the manifest",)),
    ("artifact missing", wrong.bundle(lambda folder: (folder / "model.gguf").unlink()), "show run bench", 1,
     ("model.gguf",)),
    ("artifact cut", wrong.bundle(lambda folder: (folder / "model.gguf").write_bytes(b"GGUF")), "show run bench", 1,
     ("model.gguf", "damaged")),
    ("manifest missing", wrong.bundle(lambda folder: (folder / "manifest.json").unlink()), "verify", 1,
     ("manifest.json", "quantize")),
    ("manifest no JSON", wrong.bundle(lambda folder: (folder / "manifest.json").write_text("{")), "verify show run", 1,
     ("manifest.json", "JSON")),
    ("manifest without a key", wrong.manifest(files=None), "verify show run", 1, ("manifest.json", "files")),
    ("manifest of a newer form", wrong.manifest(schema_version=2), "verify show run", 1,
     ("version 2", "update edgellm")),
    ("not to be quantized", wrong.bundle(lambda folder: None), "quantize calibrate", 2, ("bundle",)),
]  # fmt: skip


def tokenizer_files(folder: Path, good: Good) -> Path:
    return Path(shutil.copytree(good.bundle / "tokenizer", folder / "tokenizer"))


FOLDERS: list[Row] = [
    ("tokenizer files alone", tokenizer_files, "quantize onnx", 2, ("tokenizer", "cannot be quantized", "checkpoint")),
]


def shorten(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


ONNX: list[Row] = [
    ("graph empty", wrong.onnx_folder(shorten("model.onnx", 0)), "show run", 1, ("model.onnx",)),
    ("graph cut", wrong.onnx_folder(shorten("model.onnx", 200)), "show run bench", 1,
     ("model.onnx",)),
    ("graph a text", wrong.onnx_folder(lambda folder: (folder / "model.onnx").write_text("これは文章。")), "show run",
     1, ("model.onnx",)),
    ("data missing", wrong.onnx_folder(lambda folder: (folder / "model.onnx_data").unlink()), "run bench", 1,
     ("model.onnx_data",)),
    ("data cut", wrong.onnx_folder(shorten("model.onnx_data", 9)), "run bench", 1,
     ("model.onnx",)),
    ("config.json missing", wrong.onnx_folder(lambda folder: (folder / "config.json").unlink()), "show run", 1,
     ("config.json",)),
    ("tokenizer garbage", wrong.onnx_folder(lambda folder: (folder / "tokenizer.json").write_text("{")), "show run", 1,
     ("tokenizer.json",)),
    ("not to be quantized", wrong.onnx_folder(lambda folder: None), "quantize", 2, ("onnx", "cannot be quantized")),
]  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return wrong.good_models(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def edgellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkingCli]:
    with forking_cli(tmp_path_factory.mktemp("streams")) as cli:
        yield cli


def contents(path: Path) -> dict[str, str]:
    """Digests of a file or of all files of a folder, by name."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] if path.is_file() else []
    return {str(p): of_file(p) for p in files}


def check_refusal(done: Done, code: int, parts: tuple[str, ...]) -> None:
    """The exit code, and on stderr one sentence that holds the parts and says what to do."""
    assert done.code == code, done
    assert not [trace for trace in NO_SENTENCE if trace in done.stdout + done.stderr], done
    sentences = [line for line in done.stderr.splitlines() if not PROGRESS.fullmatch(line)]
    assert len(sentences) == 1, done
    assert sentences[0].startswith("edgellm: "), done
    assert WHAT_TO_DO.search(sentences[0]), done
    assert not [part for part in parts if part not in sentences[0]], done


def check_row(row: Row, good: Good, edgellm: ForkingCli, folder: Path) -> None:
    """Every verb of the row refuses the input, leaves it alone and leaves nothing at or beside --out."""
    _, spoiler, verbs, code, parts = row
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    target = spoiler(folder / "in", good)
    before = contents(target)
    places = {"TARGET": target, "OUT": folder / "out" / "made"}
    for verb in verbs.split():
        check_refusal(edgellm(*(places.get(word, word) for word in WORDS[verb])), code, parts)
        assert list((folder / "out").iterdir()) == [], verb
    assert contents(target) == before


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row[0]) for row in (*GGUFS, *CHECKPOINTS, *RECIPES_AND_TEXTS, *BUNDLES, *FOLDERS)]
)
def test_a_wrong_input_is_told_in_one_sentence(row: Row, good: Good, edgellm: ForkingCli, tmp_path: Path) -> None:
    check_row(row, good, edgellm, tmp_path)


@pytest.mark.onnx
@pytest.mark.parametrize("row", [pytest.param(row, id=row[0]) for row in ONNX])
def test_a_wrong_onnx_folder_is_told_in_one_sentence(row: Row, good: Good, edgellm: ForkingCli, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the [onnx] extra")
    check_row(row, good, edgellm, tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        ("quantize tiny-ja --type Q4_K_X --out OUT", 2, ("'Q4_K_X'", "did you mean Q4_K_S or Q4_K_M")),
        ("quantize tiny-ja --type GPTQ --out OUT", 2, ("'GPTQ'", "known are", "Q4_K_M")),
        ("quantize tiny-ja --tensor-type ffn=Q9_K --out OUT", 2, ("'Q9_K'", "did you mean")),
        ("quantize tiny-ja --tensor-type ffn(=Q8_0 --out OUT", 2, ("'ffn('", "regular expression")),
        (f"run GGUF {'犬' * 1100}", 2, ("the context of 1024", "shorten the prompt")),
        ("run GGUF 犬 --context 9999", 2, ("model.gguf", "1024", "9999")),
        ("bench GGUF --prompt-tokens 9999", 2, ("model.gguf", "1024", "9999")),
    ],
)
def test_an_order_that_cannot_be_met_is_told_in_one_sentence(
    words: str, code: int, parts: tuple[str, ...], good: Good, edgellm: ForkingCli, tmp_path: Path
) -> None:
    places = {"GGUF": good.gguf, "OUT": tmp_path / "made"}
    check_refusal(edgellm(*(places.get(word, word) for word in words.split())), code, parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("shwo tiny-ja", ("'shwo'", "did you mean 'show'")),
        ("nonsense", ("'nonsense'", "quantize")),
        ("show tiny-ja --jsn", ("'--jsn'", "--json")),
        ("run", ("TARGET", "run --help")),
        ("run tiny-ja x --max-tokens many", ("--max-tokens", "'many'")),
        ("quantize tiny-ja --format ggug --out x", ("--format", "'ggug'", "onnx")),
    ],
)
def test_a_call_that_is_misspelt_is_told_in_one_sentence(words: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgellm.cli.main", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    check_refusal(Done(done.returncode, done.stdout, done.stderr), 2, parts)
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_too_long_for_the_served_model_is_openai_s_error_400(good: Good) -> None:
    command = [sys.executable, "-m", "edgellm.cli.main", "serve", str(good.gguf), "--port", "0", "--context", "64"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            ready = next(line for line in server.stderr if line.startswith("serving "))
            body = {"messages": [{"role": "user", "content": "犬" * 100}]}
            answer = httpx.post(f"{ready.split()[-1]}/v1/chat/completions", json=body, timeout=60)
        finally:
            server.terminate()
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
    )
    assert "the context of 64" in error["message"]
