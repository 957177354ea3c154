"""What a GGUF file says of itself: sizes, vocabulary, chat template, and the tokenizer made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from edgellm.engines.gguf.reader import TensorInfo, read_index
from edgellm.errors import BadInput, UsageError
from edgellm.language.tokenizer import Tokenizer, tokenizer_from_pieces

# Role of a special token → its name in the keys (`seperator` is GGUF's own spelling).
SPECIAL_IDS = {
    "bos": "bos", "eos": "eos", "eot": "eot", "eom": "eom", "unk": "unknown", "sep": "seperator",
    "pad": "padding", "mask": "mask",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """Metadata and tensor index of a model. Lists of numbers in `metadata` are NumPy arrays."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]

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
    def chat_template(self) -> str | None:
        template = self.metadata.get("tokenizer.chat_template")
        return template if isinstance(template, str) else None


def read_header(path: Path) -> Header:
    """Read a GGUF file without its weights; raises BadInput for a damaged file or a part of a split one."""
    header = Header(path, *read_index(path))
    if (parts := header.count("split.count") or 1) > 1:
        raise BadInput(f"{path} is one of {parts} parts; join them first with llama-gguf-split --merge")
    return header


def tokenizer_of(header: Header) -> Tokenizer:
    """The exact tokenizer, rebuilt from the file's own vocabulary.

    Raises UsageError for a kind of vocabulary that cannot be rebuilt, BadInput for a damaged one.
    """
    if header.metadata.get("general.type", "model") != "model":
        raise not_a_model(header)
    if header.tokenizer_model != "llama":
        raise UsageError(
            f"{header.path} has a vocabulary of kind {header.tokenizer_model or 'none'}, which cannot be "
            "rebuilt exactly; give a GGUF with a SentencePiece vocabulary, or the bundle made from the checkpoint"
        )
    try:
        return rebuilt(header)
    except BadInput as error:
        raise BadInput(f"the vocabulary in {header.path} cannot be used: {error}") from error


def not_a_model(header: Header) -> UsageError:
    kind = header.metadata["general.type"]
    return UsageError(f"{header.path} holds no model but a GGUF of the kind {kind}; give the GGUF of the model itself")


def rebuilt(header: Header) -> Tokenizer:
    """The tokenizer of a vocabulary of kind `llama`; raises BadInput where its lists or ids contradict each other."""
    ids = header.special_ids
    kinds = header.token_types or [int(gguf.TokenType.NORMAL)] * len(header.tokens)
    scores = header.scores or [0.0] * len(header.tokens)
    if not len(kinds) == len(scores) == len(header.tokens):
        raise BadInput("its lists differ in length; convert the model again")
    if odd := set(kinds) - set(gguf.TokenType):
        raise BadInput(f"it has a token of the unknown kind {min(odd)}; convert the model again")
    if beyond := [role for role in ("bos", "eos", "eot", "eom", "unk") if ids.get(role, 0) >= len(kinds)]:
        raise BadInput(
            f"its {beyond[0]} token has the id {ids[beyond[0]]} of only {len(kinds)} tokens; convert the model again"
        )
    return tokenizer_from_pieces(
        header.tokens,
        scores,
        kinds,
        bos_id=ids.get("bos", 1),  # llama.cpp's defaults for this kind
        eos_id=ids.get("eos", 2),
        unk_id=ids.get("unk", 0),
        stop_ids=[ids[role] for role in ("eot", "eom") if role in ids],
        add_bos=header.add_bos,
        add_space_prefix=header.add_space_prefix,
    )
