"""A GGUF's vocabulary without its weights: what llama.cpp's own tokenizer makes of a text and of ids."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

import gguf
import llama_cpp

from edgellm.engines.gguf import library
from edgellm.engines.gguf.soundness import unknown_architecture
from edgellm.errors import EngineFailed, UsageError
from edgellm.language.tokenizer import Tokenizer


class EngineVocabulary:
    """The vocabulary of a GGUF, loaded by llama.cpp without any weights. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises EngineFailed if llama.cpp refuses the file, UsageError if it holds no vocabulary or one of an
        architecture that llama.cpp does not know."""
        library.start()
        library.log.clear()
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            reason = library.log.reason() or "it gives no reason"
            raise unknown_architecture(path, reason) or EngineFailed(
                f"llama.cpp cannot load the vocabulary of {path} ({reason}); convert the model again"
            )
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        if llama_cpp.llama_vocab_type(self._vocabulary) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            self.close()
            raise UsageError(f"{path} holds no vocabulary; give a GGUF that was converted with its tokenizer")

    def encode(self, text: str) -> list[int]:
        """Ids without BOS or EOS, special tokens not recognised (`add_special` and `parse_special` off)."""
        data = text.encode()
        room = len(data) + 8  # no vocabulary needs more than a token a byte and the dummy space
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocabulary, data, len(data), tokens, room, False, False)
        if count < 0:
            raise EngineFailed(f"llama.cpp makes {-count} tokens of {len(data)} bytes, which cannot be; report this")
        return list(tokens[:count])

    def piece_bytes(self, token: int) -> bytes:
        """What a token adds to a text, leading space included; control tokens give their names."""
        room = 64
        while True:
            piece = ctypes.create_string_buffer(room)
            size = llama_cpp.llama_token_to_piece(self._vocabulary, token, piece, room, 0, True)
            if size >= 0:
                return piece.raw[:size]
            room = -size

    def ends_answers(self, token: int) -> bool:
        """Whether llama.cpp stops at a token: because the file says so, or by the token's name."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    @property
    def adds_bos(self) -> bool:
        """Whether prompts begin with BOS; where the file does not say, by the kind of vocabulary."""
        return bool(llama_cpp.llama_vocab_get_add_bos(self._vocabulary))

    def close(self) -> None:
        if self._model:
            llama_cpp.llama_model_free(self._model)
            self._model = None

    def __enter__(self) -> EngineVocabulary:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def engine_ids(path: Path, texts: Sequence[str]) -> list[list[int]]:
    """`EngineVocabulary.encode` of each text by the vocabulary of one GGUF."""
    with EngineVocabulary(path) as vocabulary:
        return [vocabulary.encode(text) for text in texts]


def write_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    """A GGUF that holds a SentencePiece vocabulary and no tensors, as a converted model would hold it.

    Raises UsageError for other vocabularies: llama.cpp needs to know their pre-tokenizer by name.
    """
    model = tokenizer.sentencepieces
    if model is None:
        raise UsageError("only a SentencePiece vocabulary can be put into a GGUF by itself; give a converted GGUF")
    writer = gguf.GGUFWriter(path, "llama")
    # llama.cpp asks for the shape even where it loads nothing but the vocabulary.
    writer.add_context_length(1)
    writer.add_embedding_length(1)
    writer.add_block_count(1)
    writer.add_feed_forward_length(1)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(model.pieces))
    writer.add_token_scores(list(model.scores))
    writer.add_token_types(list(model.types))
    writer.add_add_space_prefix(model.adds_dummy_prefix)
    writer.add_unk_token_id(model.unk_id)
    if tokenizer.bos_id is not None:
        writer.add_bos_token_id(tokenizer.bos_id)
    if tokenizer.eos_id is not None:
        writer.add_eos_token_id(tokenizer.eos_id)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
