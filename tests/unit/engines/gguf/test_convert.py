"""Conversion: what may go wrong, and that nothing half-written is left then. Its bytes: tests/oracle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgellm.engines.gguf import tensor_data
from edgellm.engines.gguf.convert import convert, notes_on
from edgellm.engines.gguf.header import read_header
from edgellm.errors import BadInput, UnknownFamily, UsageError
from edgellm.stages.convert import convert as convert_stage
from edgellm.store.checkpoint import open_checkpoint
from edgellm.store.work import WorkFolder
from tiny_checkpoints import TINY_JA, random_llama


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return random_llama(tmp_path / "in", layers=1, hidden=32, heads=2, kv_heads=1, ffn=32, tied=True)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def refused(checkpoint: Path, tmp_path: Path, error: type[Exception], message: str, type_name: str = "F32") -> None:
    """The conversion fails with this message, and nothing is left of it."""
    out = tmp_path / "out" / "model.gguf"
    with pytest.raises(error, match=message):
        convert(checkpoint, out, type_name)
    assert not out.parent.exists() or not any(out.parent.iterdir())


def test_matrices_get_the_type_and_vectors_stay_in_f32(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "model.gguf", "BF16")
    types = {(len(t.shape), t.type) for t in read_header(tmp_path / "model.gguf").tensors}
    assert types == {(2, "BF16"), (1, "F32")}


def test_the_bytes_do_not_depend_on_the_size_of_a_block(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(checkpoint, tmp_path / "large.gguf", "F16")
    monkeypatch.setattr(tensor_data, "BLOCK_ELEMENTS", 1000)
    convert(checkpoint, tmp_path / "small.gguf", "F16")
    assert (tmp_path / "large.gguf").read_bytes() == (tmp_path / "small.gguf").read_bytes()


def test_progress_counts_to_the_size_of_all_tensors(checkpoint: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert(checkpoint, tmp_path / "model.gguf", "F32", lambda done, total: seen.append((done, total)))
    total = sum(t.size_bytes for t in read_header(tmp_path / "model.gguf").tensors)
    assert seen[-1] == (total, total)
    assert [d for d, _ in seen] == sorted({d for d, _ in seen})


def test_an_existing_file_survives_a_failed_conversion(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.gguf"
    out.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError):
        convert(checkpoint, out, "F32", lambda done, total: 1 // 0)
    assert out.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "model.gguf"]


def test_another_type_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    refused(checkpoint, tmp_path, UsageError, "F32, F16, BF16, not to Q4_K_M", "Q4_K_M")


def test_a_class_without_a_family_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    change_config(checkpoint, architectures=["OddForCausalLM"])
    refused(checkpoint, tmp_path, UnknownFamily, "OddForCausalLM")


def test_a_configuration_without_a_class_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    change_config(checkpoint, architectures=[])
    refused(checkpoint, tmp_path, BadInput, "names no class")


def test_a_checkpoint_that_lacks_a_tensor_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    change_config(checkpoint, tie_word_embeddings=False)
    refused(checkpoint, tmp_path, BadInput, r"lacks the tensor lm_head\.weight")


def test_a_tensor_of_another_shape_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    change_config(checkpoint, intermediate_size=64)
    refused(checkpoint, tmp_path, BadInput, r"has shape \(32, 32\) where config.json implies \(64, 32\)")


def test_a_tensor_that_has_no_place_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    save_file(weights | {"model.layers.0.extra.weight": np.ones(3, np.float32)}, checkpoint / "model.safetensors")
    refused(checkpoint, tmp_path, BadInput, r"holds the tensor model\.layers\.0\.extra\.weight")


def test_buffers_that_are_no_weights_are_left_out(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(8, np.float32)
    save_file(weights, checkpoint / "model.safetensors")
    convert(checkpoint, tmp_path / "model.gguf", "F32")
    assert len(read_header(tmp_path / "model.gguf").tensors) == 11


def test_values_beyond_half_precision_are_refused_in_f16_and_kept_in_bf16(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][3, 4] = 70000.0
    save_file(weights, checkpoint / "model.safetensors")
    refused(checkpoint, tmp_path, BadInput, "too large for F16; convert to BF16", "F16")
    convert(checkpoint, tmp_path / "model.gguf", "BF16")


def test_names_of_added_tokens_win_over_those_of_the_pieces(checkpoint: Path, tmp_path: Path) -> None:
    def rename(config: dict[str, Any]) -> None:
        config["added_tokens_decoder"]["9"]["content"] = "<|another name|>"
        config["added_tokens_decoder"]["300"] = {"content": "▁plain", "special": False}

    change_json(checkpoint / "tokenizer_config.json", rename)
    convert(checkpoint, tmp_path / "model.gguf", "F16")
    header = read_header(tmp_path / "model.gguf")
    assert (header.tokens[9], header.token_types[9]) == ("<|another name|>", 3)
    assert (header.tokens[300], header.token_types[300], header.scores[300]) == (" plain", 4, -1000.0)


def test_rows_past_the_vocabulary_become_unused_tokens(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = np.concatenate([embedding, embedding[:8]])
    save_file(weights, checkpoint / "model.safetensors")
    change_config(checkpoint, vocab_size=8200)
    convert(checkpoint, tmp_path / "model.gguf", "F16")
    header = read_header(tmp_path / "model.gguf")
    assert header.vocab_tokens == 8200
    assert (header.tokens[8199], header.token_types[8199]) == ("[PAD8199]", 5)


def test_a_text_with_two_ids_is_refused_because_llama_cpp_would_abort(checkpoint: Path, tmp_path: Path) -> None:
    def double(config: dict[str, Any]) -> None:
        config["added_tokens_decoder"]["300"] = {"content": "<|start|>", "special": True}

    change_json(checkpoint / "tokenizer_config.json", double)
    refused(checkpoint, tmp_path, BadInput, r"several ids to '<\|start\|>'")


def test_special_ids_are_found_without_tokenizer_json(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    change_config(checkpoint, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    convert(checkpoint, tmp_path / "model.gguf", "F16")
    assert read_header(tmp_path / "model.gguf").special_ids == {"bos": 1, "eos": 2, "unk": 0, "pad": 4}


def test_the_template_file_wins_over_the_one_in_the_configuration(checkpoint: Path, tmp_path: Path) -> None:
    change_json(checkpoint / "tokenizer_config.json", lambda c: c.update(chat_template="old"))
    convert(checkpoint, tmp_path / "model.gguf", "F16")
    expected = (checkpoint / "chat_template.jinja").read_text(encoding="utf-8")
    assert read_header(tmp_path / "model.gguf").chat_template == expected


def test_the_template_of_the_configuration_serves_where_there_is_no_file(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "chat_template.jinja").unlink()
    change_json(checkpoint / "tokenizer_config.json", lambda c: c.update(chat_template="{{ messages }}"))
    convert(checkpoint, tmp_path / "model.gguf", "F16")
    assert read_header(tmp_path / "model.gguf").chat_template == "{{ messages }}"


def test_a_stated_space_prefix_is_written(checkpoint: Path, tmp_path: Path) -> None:
    change_json(checkpoint / "tokenizer_config.json", lambda c: c.update(add_prefix_space=False))
    convert(checkpoint, tmp_path / "model.gguf", "F16")
    assert read_header(tmp_path / "model.gguf").metadata["tokenizer.ggml.add_space_prefix"] is False


def test_missing_and_damaged_tokenizer_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "tokenizer.model").write_bytes(b"no model at all")
    refused(checkpoint, tmp_path, BadInput, r"tokenizer\.model cannot be used")
    (checkpoint / "tokenizer.model").unlink()
    (checkpoint / "tokenizer.json").unlink()
    refused(checkpoint, tmp_path, BadInput, r"holds no tokenizer\.model")


def test_what_no_gguf_can_hold_is_blamed_on_the_file_that_says_it(checkpoint: Path, tmp_path: Path) -> None:
    change_config(checkpoint, rms_norm_eps=1e300)
    refused(checkpoint, tmp_path, BadInput, r'^"rms_norm_eps" is 1e\+300')
    change_config(checkpoint, rms_norm_eps=1e-5)
    (checkpoint / "generation_config.json").write_text('{"temperature": 1e300}')
    refused(checkpoint, tmp_path, BadInput, r"^README\.md or generation_config\.json in ")


def test_a_checkpoint_is_checked_before_its_weights_are_read_for_the_digest(checkpoint: Path, tmp_path: Path) -> None:
    change_config(checkpoint, intermediate_size=64)
    labels: list[str] = []

    class Labels:
        def work(self, label: str) -> AbstractContextManager[Callable[[int, int], None]]:
            labels.append(label)
            return nullcontext(lambda done, total: None)

        def note(self, text: str) -> None:
            labels.append(text)

    with pytest.raises(BadInput, match=r"config\.json implies"):
        convert_stage(checkpoint, "F16", WorkFolder(tmp_path / "work"), progress=Labels())
    assert labels == []


def test_the_input_is_never_changed(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(TINY_JA, tmp_path / "tiny-ja"))
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in copy.iterdir()}
    convert(copy, tmp_path / "model.gguf", "F16")
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in copy.iterdir()} == before


def test_a_stored_output_matrix_beside_tied_embeddings_is_left_out_with_a_note(
    checkpoint: Path, tmp_path: Path
) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    save_file(weights, checkpoint / "model.safetensors")
    convert(checkpoint, tmp_path / "model.gguf", "F16")
    assert "output.weight" not in {t.name for t in read_header(tmp_path / "model.gguf").tensors}
    assert notes_on(open_checkpoint(checkpoint)) == [
        "in: lm_head.weight is left out, for config.json ties the output to the embedding"
    ]
