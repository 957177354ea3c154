"""Vectors of texts, against transformers' hidden states pooled by hand."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.gguf.pooling import pooling_type
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.errors import BadInput, EngineFailed, UsageError
from edgellm.store.checkpoint import open_checkpoint
from tiny_decoders import random_decoder
from tiny_gguf import dense_gguf

CONTEXT = 256
FLAGS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "lasttoken": "pooling_mode_lasttoken"}


def pooled_by(folder: Path, mode: str, modules: tuple[str, ...] = ("Transformer", "Pooling", "Normalize")) -> Path:
    """The checkpoint as sentence-transformers would have it."""
    (folder / "1_Pooling").mkdir(exist_ok=True)
    flags = {name: name == FLAGS.get(mode, mode) for name in (*FLAGS.values(), FLAGS.get(mode, mode))}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 128, **flags}))
    listed = [{"idx": i, "type": f"sentence_transformers.models.{name}"} for i, name in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedding") / "qwen3"
    return random_decoder(folder, "Qwen3ForCausalLM", scale=1.0, vocab_size=8192, max_position_embeddings=1024)


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    rng = np.random.default_rng(4)
    return [rng.integers(0, 8192, length).tolist() for length in (1, 7, 40, 200, 3, 256)]


@pytest.fixture(scope="module")
def hidden(checkpoint: Path, texts: list[list[int]]) -> list[np.ndarray]:
    """Of each text the last hidden states after the norm, (tokens, 128), in float32."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True).eval()
    with torch.no_grad():
        return [model(torch.tensor([ids])).last_hidden_state[0].numpy() for ids in texts]


@pytest.mark.parametrize("mode", ["lasttoken", "mean", "cls"])
def test_vectors_are_the_hidden_states_of_transformers_pooled(
    checkpoint: Path, texts: list[list[int]], hidden: list[np.ndarray], tmp_path: Path, mode: str
) -> None:
    convert(pooled_by(checkpoint, mode), tmp_path / "m.gguf", "F32")
    runtime = open_runtime(tmp_path / "m.gguf", RuntimeOptions(context_tokens=CONTEXT, threads=1))
    assert runtime.info.embedding_width == 128
    found = runtime.embed(texts)
    runtime.close()
    pool = {"lasttoken": lambda h: h[-1], "mean": lambda h: h.mean(axis=0), "cls": lambda h: h[0]}[mode]
    wanted = np.stack([pool(each) / np.linalg.norm(pool(each)) for each in hidden])
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    assert (found * wanted).sum(axis=1).min() > 0.9999


@pytest.fixture(scope="module")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedding") / "last.gguf"
    convert(pooled_by(checkpoint, "lasttoken"), path, "F16")
    return path


def test_a_text_has_the_same_direction_alone_in_company_and_after_a_longer_one(
    artifact: Path, texts: list[list[int]]
) -> None:
    runtime = open_runtime(artifact, RuntimeOptions(context_tokens=1024, threads=1))
    alone = np.concatenate([runtime.embed([text]) for text in texts])
    many = runtime.embed(texts * 15)
    long = runtime.embed([(texts[5] * 4)[:1000], texts[1]])
    runtime.close()
    assert ((alone[None] * many.reshape(15, 6, 128)).sum(axis=2) > 0.9999).all()
    assert long[1] @ alone[1] > 0.9999
    assert long[0] @ alone[1] < 0.9


def test_embedding_changes_no_sequence(artifact: Path, texts: list[list[int]]) -> None:
    runtime = open_runtime(artifact, RuntimeOptions(context_tokens=CONTEXT, sequences=2, threads=1))
    whole = runtime.step([Feed(0, texts[2])])[0].copy()
    runtime.keep(0, 0)
    runtime.step([Feed(0, texts[2][:20], "none")])
    runtime.embed(texts)
    assert runtime.held(0) == 20
    assert np.allclose(runtime.step([Feed(0, texts[2][20:])])[0], whole, atol=0.05)
    runtime.close()


def test_no_texts_give_no_vectors_and_wrong_ones_are_refused(artifact: Path) -> None:
    runtime = open_runtime(artifact, RuntimeOptions(context_tokens=CONTEXT, threads=1))
    assert runtime.embed([]).shape == (0, 128)
    for prompt, words in (([], "no tokens"), ([1] * (CONTEXT + 1), "257 tokens"), ([8192], "vocabulary of 8192")):
        with pytest.raises(UsageError, match=words):
            runtime.embed([[1, 2], prompt])
    runtime.close()
    with pytest.raises(EngineFailed, match="closed"):
        runtime.embed([[1]])


def test_a_model_that_declares_no_pooling_gives_no_embeddings(tmp_path: Path) -> None:
    runtime = open_runtime(dense_gguf(tmp_path / "chat.gguf"), RuntimeOptions(context_tokens=64, threads=1))
    assert runtime.info.embedding_width == 0
    with pytest.raises(UsageError, match="gives no embeddings"):
        runtime.embed([[1]])
    runtime.close()


def test_a_checkpoint_of_the_bare_model_converts_into_the_same_file(
    checkpoint: Path, artifact: Path, tmp_path: Path
) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in checkpoint.iterdir():
        if file.suffix != ".safetensors" and file.is_file():
            (bare / file.name).write_bytes(file.read_bytes())
    weights = safetensors.load_file(checkpoint / "model.safetensors")
    renamed = {name.removeprefix("model."): value for name, value in weights.items()}
    safetensors.save_file(renamed, bare / "model.safetensors", metadata={"format": "pt"})
    convert(pooled_by(bare, "lasttoken"), tmp_path / "bare.gguf", "F16")
    ours, theirs = read_header(tmp_path / "bare.gguf"), read_header(artifact)
    assert ours.metadata["qwen3.pooling_type"] == theirs.metadata["qwen3.pooling_type"] == gguf.PoolingType.LAST
    assert [(t.name, t.shape) for t in ours.tensors] == [(t.name, t.shape) for t in theirs.tensors]


def test_another_way_of_pooling_makes_the_conversion_anew(checkpoint: Path) -> None:
    digests = {mode: open_checkpoint(pooled_by(checkpoint, mode)).digest() for mode in ("mean", "lasttoken")}
    assert digests["mean"] != digests["lasttoken"]


def test_what_a_gguf_cannot_say_about_vectors_is_refused(tmp_path: Path) -> None:
    assert pooling_type(tmp_path) is None
    with pytest.raises(UsageError, match="pooling_mode_weightedmean_tokens"):
        pooling_type(pooled_by(tmp_path, "pooling_mode_weightedmean_tokens"))
    with pytest.raises(UsageError, match="a Dense module"):
        pooling_type(pooled_by(tmp_path, "mean", ("Transformer", "Pooling", "Dense")))
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(BadInput, match=r"modules\.json"):
        pooling_type(tmp_path)
