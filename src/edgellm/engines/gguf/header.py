"""What a GGUF file says of itself: sizes, vocabulary, chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgellm.engines.gguf.reader import TensorInfo
from edgellm.engines.gguf.split import read_parts
from edgellm.errors import BadInput

# Role of a special token → its name in the keys (`seperator` is GGUF's own spelling).
SPECIAL_IDS = {
    "bos": "bos", "eos": "eos", "eot": "eot", "eom": "eom", "unk": "unknown", "sep": "seperator",
    "pad": "padding", "mask": "mask",
}  # fmt: skip

# Keys of our own, for what no key of GGUF says: whether a byte-level vocabulary's text is put in form NFC, where that
# is not what the name of its pre-tokenizer implies, and from which lengths on PLaMo 3 cuts runs out of a text.
NFC = "edgellm.tokenizer.nfc"
RUN_LENGTHS = ("edgellm.tokenizer.repeated_chars", "edgellm.tokenizer.consecutive_spaces")
# llama.cpp's names of pre-tokenizers whose models normalise text, which the engine leaves out.
NFC_NAMES = ("qwen2", "qwen35", "deepseek-r1-qwen")


@dataclass(frozen=True)
class Header:
    """Metadata and tensor index of a model. Lists of numbers in `metadata` are NumPy arrays."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]
    files: tuple[Path, ...]  # one, or the parts of a split model

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the graph; empty in a file without a model, such as an importance matrix."""
        return str(self.metadata.get("general.architecture", ""))

    def count(self, key: str) -> int | None:
        """A whole number of the metadata, None if it is not stated; raises BadInput for anything else."""
        value = self.metadata.get(key)
        if value is not None and (type(value) is not int or value < 0):
            raise BadInput(f"{key} in {self.path} is no whole number; make the file again")
        return value

    def of_architecture(self, key: str) -> int | None:
        return self.count(f"{self.architecture}.{key}")

    @property
    def weights(self) -> tuple[TensorInfo, ...]:
        """The tensors that were trained: all but RoPE's factors, which follow from the configuration."""
        return tuple(t for t in self.tensors if not t.name.startswith("rope_"))

    @property
    def parameters(self) -> int:
        return sum(t.elements for t in self.weights)

    @property
    def active_parameters(self) -> int:
        """Parameters that take part in one token: of expert weights only the share that is used."""
        experts, used = self.of_architecture("expert_count"), self.of_architecture("expert_used_count")
        if not experts or not used:
            return self.parameters
        idle = sum(t.elements for t in self.weights if "_exps." in t.name) * (experts - used) // experts
        return self.parameters - idle

    @property
    def weight_bytes(self) -> int:
        return sum(t.size_bytes for t in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Bits of tensor data a parameter, as llama.cpp prints it (BPW); 0 in a file without weights."""
        return 8 * self.weight_bytes / self.parameters if self.parameters else 0.0

    @property
    def context_tokens(self) -> int:
        return self.of_architecture("context_length") or 0

    def flag(self, key: str, default: bool) -> bool:
        """A yes or no of the metadata; raises BadInput for anything else."""
        value = self.metadata.get(key, default)
        if not isinstance(value, bool):
            raise BadInput(f"{key} in {self.path} is neither true nor false; make the file again")
        return value

    def numbers(self, key: str, kinds: str) -> list[Any]:
        """A list of numbers of the metadata, of NumPy's `kinds` of types ("f", "iu"), empty if it is not stated;
        raises BadInput for anything else."""
        value = self.metadata.get(key, np.empty(0, kinds[0]))
        if not (isinstance(value, np.ndarray) and value.dtype.kind in kinds):
            raise BadInput(f"{key} in {self.path} is no list of such numbers; make the file again")
        found: list[Any] = value.tolist()
        return found

    @cached_property
    def tokens(self) -> list[str]:
        """The text of every token id; empty in a file without a vocabulary."""
        tokens = self.metadata.get("tokenizer.ggml.tokens", [])
        if not (isinstance(tokens, list) and all(isinstance(text, str) for text in tokens)):
            raise BadInput(f"the vocabulary in {self.path} is no list of texts; make the file again")
        return tokens

    @property
    def vocab_tokens(self) -> int:
        return len(self.tokens) or self.of_architecture("vocab_size") or 0

    @property
    def tokenizer_model(self) -> str:
        return str(self.metadata.get("tokenizer.ggml.model", ""))

    @cached_property
    def scores(self) -> list[float]:
        return self.numbers("tokenizer.ggml.scores", "f")

    @cached_property
    def token_types(self) -> list[int]:
        """Kinds of the tokens, as `gguf.TokenType` numbers them."""
        return self.numbers("tokenizer.ggml.token_type", "iu")

    @property
    def special_ids(self) -> dict[str, int]:
        """Ids by role (`bos`, `eos`, `unk`, `pad`, …), as far as the file states them."""
        stated = {role: self.count(f"tokenizer.ggml.{key}_token_id") for role, key in SPECIAL_IDS.items()}
        return {role: value for role, value in stated.items() if value is not None}

    @property
    def add_bos(self) -> bool:
        return self.flag("tokenizer.ggml.add_bos_token", self.tokenizer_model == "llama")

    @property
    def add_space_prefix(self) -> bool:
        return self.flag("tokenizer.ggml.add_space_prefix", self.tokenizer_model == "llama")

    @property
    def charsmap(self) -> bytes:
        """SentencePiece's compiled table of what it normalises; empty for identity."""
        return np.asarray(self.numbers("tokenizer.ggml.precompiled_charsmap", "iu")).astype(np.uint8).tobytes()

    @property
    def removes_extra_whitespaces(self) -> bool:
        return self.flag("tokenizer.ggml.remove_extra_whitespaces", False)

    @property
    def normalises_to_nfc(self) -> bool:
        return self.flag(NFC, self.metadata.get("tokenizer.ggml.pre") in NFC_NAMES)

    @property
    def run_lengths(self) -> tuple[int, int] | None:
        """As `language.plamo.run_lengths`; None where the file does not state them."""
        repeats, spaces = map(self.count, RUN_LENGTHS)
        return None if repeats is None or spaces is None else (repeats, spaces)

    @property
    def chat_template(self) -> str | None:
        template = self.metadata.get("tokenizer.chat_template")
        return template if isinstance(template, str) else None


def read_header(path: Path) -> Header:
    """Read a model without its weights: a GGUF file, or the first of several parts, which are read too.

    Raises BadInput for a damaged file or a missing part, UsageError for a part that is not the first.
    """
    files, (metadata, tensors) = read_parts(path)
    return Header(path, metadata, tensors, files)
