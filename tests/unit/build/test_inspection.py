"""What `show` tells of every kind of target."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from click.testing import CliRunner

from edgellm.build.inspection import grouped, inspect
from edgellm.cli.show import show
from edgellm.engines.gguf.convert import convert
from edgellm.errors import BadInput, UsageError
from edgellm.records.inspection import Inspection
from edgellm.records.manifest import Manifest
from edgellm.records.results import Verdict
from tiny_checkpoints import TINY_JA, TOKENIZER_FILES, random_llama

PARAMETERS = 6_819_072


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("show") / "tiny.gguf"
    convert(TINY_JA, out, "BF16")
    return out


def test_the_embedded_model_is_a_checkpoint_with_its_tokenizer() -> None:
    found = inspect("tiny-ja")
    assert (found.kind, found.architecture) == ("checkpoint", "LlamaForCausalLM")
    assert found.parameters == found.active_parameters == PARAMETERS
    assert (found.context_tokens, found.vocab_tokens, found.bits_per_weight) == (1024, 8192, 16.0)
    assert {t.name: t for t in found.tensors}["model.norm.weight"].shape == [256]
    assert found.tokenizer is not None
    assert (found.tokenizer.kind, found.tokenizer.tokens) == ("unigram", 8192)
    assert found.tokenizer.special == {"bos": 1, "eos": 2, "unk": 0}
    assert found.tokenizer.stop_ids == [2, 4, 13]
    assert found.tokenizer.chat_template


def test_a_gguf_tells_the_same_of_its_model(tiny_gguf: Path) -> None:
    found, source = inspect(str(tiny_gguf)), inspect("tiny-ja")
    assert (found.kind, found.architecture, found.size_bytes) == ("gguf", "llama", tiny_gguf.stat().st_size)
    for field in ("parameters", "active_parameters", "context_tokens", "vocab_tokens"):
        assert getattr(found, field) == getattr(source, field)
    assert found.tokenizer is not None
    assert source.tokenizer is not None
    assert (source.tokenizer.source, found.tokenizer.source) == ("tokenizer.json", "gguf")
    assert "log probabilities (Unigram)" in found.tokenizer.reason
    chosen = {"source": "", "reason": ""}
    assert found.tokenizer.model_copy(update=chosen) == source.tokenizer.model_copy(update=chosen)


def test_a_bundle_tells_its_type_licence_and_verdict(tiny_gguf: Path, tmp_path: Path) -> None:
    shutil.copyfile(tiny_gguf, tmp_path / "model.gguf")
    (tmp_path / "tokenizer").mkdir()
    for name in TOKENIZER_FILES:
        shutil.copyfile(TINY_JA / name, tmp_path / "tokenizer" / name)
    manifest = Manifest(
        name="small", family="llama", format="gguf", type="BF16", artifact="model.gguf",
        tokenizer="tokenizer",
        licence="Apache-2.0", source={}, parameters=PARAMETERS, size_bytes=1,
        bits_per_weight=16.0, recipe="default", gate=None,
        verdict=Verdict(passed=False, checks=[]), fidelity=None, lineage=[], files=[],
        created="2026-01-01T00:00:00Z",
    )  # fmt: skip
    (tmp_path / "manifest.json").write_text(manifest.model_dump_json())
    found = inspect(str(tmp_path))
    assert (found.name, found.kind, found.type) == ("small", "bundle", "BF16")
    assert (found.licence, found.passed, found.parameters) == ("Apache-2.0", False, PARAMETERS)
    assert found.tokenizer == inspect("tiny-ja").tokenizer


def test_an_onnx_folder_tells_its_initializers(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(np.ones((8192, 4), np.float32), "embedding")
    graph = onnx.helper.make_graph([], "g", [], [], [weight])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    for name in ("config.json", *TOKENIZER_FILES):
        shutil.copyfile(TINY_JA / name, tmp_path / name)
    found = inspect(str(tmp_path))
    assert (found.kind, found.architecture, found.parameters) == ("onnx", "llama", 4 * 8192)
    assert [(t.name, t.type, t.shape) for t in found.tensors] == [("embedding", "F32", [8192, 4])]


def test_a_folder_of_tokenizer_files_tells_its_vocabulary_alone(tmp_path: Path) -> None:
    for name in TOKENIZER_FILES:
        shutil.copyfile(TINY_JA / name, tmp_path / name)
    found = inspect(str(tmp_path))
    assert (found.kind, found.vocab_tokens, found.parameters, found.tensors) == ("tokenizer", 8192, None, ())


def test_a_checkpoint_of_an_unknown_class_is_shown_without_what_only_its_family_tells(tmp_path: Path) -> None:
    folder = random_llama(tmp_path / "odd", layers=1, hidden=32, heads=2, kv_heads=1, ffn=32)
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["OddForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    found = inspect(str(folder))
    assert (found.architecture, found.active_parameters, found.vocab_tokens) == ("OddForCausalLM", None, 8192)


def test_a_vocabulary_that_the_engine_refuses_is_described_as_far_as_the_file_goes(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "bpe.gguf", "qwen2")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "<|im_end|>"])
    writer.add_eos_token_id(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = inspect(str(tmp_path / "bpe.gguf"))
    assert found.tokenizer is not None
    assert (found.tokenizer.kind, found.tokenizer.tokens, found.tokenizer.special) == ("gpt2", 3, {"eos": 2})
    assert found.tokenizer.source == ""
    assert "cannot load the vocabulary" in found.tokenizer.reason
    assert (found.parameters, found.context_tokens) == (0, None)


def test_a_target_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no file or folder"):
        inspect("no-such-model")


def test_a_text_file_named_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("これは文章です")
    with pytest.raises(BadInput, match="not a GGUF file"):
        inspect(str(tmp_path / "text.gguf"))


def test_json_is_one_document_with_the_promised_keys() -> None:
    done = CliRunner().invoke(show, ["tiny-ja", "--json"])
    document = json.loads(done.stdout)
    promised = {"kind", "architecture", "parameters", "active_parameters", "context_tokens", "vocab_tokens",
                "tensors", "tokenizer"}  # fmt: skip
    assert promised <= document.keys()
    assert document["tensors"][0] == {
        "name": "model.embed_tokens.weight", "type": "BF16", "shape": [8192, 256],
    }  # fmt: skip
    assert Inspection.model_validate(document) == inspect("tiny-ja")


def test_the_table_takes_the_layers_together() -> None:
    rows = grouped(inspect("tiny-ja").tensors)
    assert ("model.layers.N.mlp.up_proj.weight", "BF16", "768 × 256", 6) in rows
    assert sum(count for *_, count in rows) == 56
    printed = CliRunner().invoke(show, ["tiny-ja"]).stdout
    assert "6,819,072" in printed
    assert "tokenizer.json: sentencepiece breaks ties as training did" in printed
    assert "model.layers.N.mlp.up_proj.weight" in printed
