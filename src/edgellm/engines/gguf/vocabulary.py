"""A checkpoint's vocabulary for a GGUF, whatever its kind. A new kind is one more file and one more case here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgellm.engines.gguf import vocabulary_bpe, vocabulary_plamo, vocabulary_sentencepiece
from edgellm.engines.gguf.vocabulary_record import Vocabulary
from edgellm.errors import BadInput, UsageError
from edgellm.language.tokenizer_files import JSON, JSONL, MODEL, tokenizer_file
from edgellm.store.checkpoint import read_json


def read_vocabulary(folder: Path, vocab_tokens: int) -> Vocabulary:
    """The vocabulary of a checkpoint folder, filled up to the `vocab_tokens` rows of its embedding.

    Raises BadInput if files are missing, contradict each other or hold more tokens than that, UsageError for a kind
    of tokenizer that no GGUF can hold.
    """
    name = tokenizer_file(folder, tuple(READERS))
    if name is None:
        raise BadInput(f"{folder} holds no {MODEL}, {JSON} or {JSONL}; add the tokenizer files of the checkpoint")
    vocabulary = READERS[name](folder, vocab_tokens)
    repeated = [text for text, count in Counter(vocabulary.tokens).items() if count > 1]
    if repeated:  # llama.cpp aborts the process when it loads such a file
        raise BadInput(f"the tokenizer files in {folder} give several ids to {repeated[0]!r}; fetch all of them again")
    return vocabulary


def _from_tokenizer_json(folder: Path, vocab_tokens: int) -> Vocabulary:
    path = folder / JSON
    description = read_json(path)
    try:
        return _by_kind(folder, description, vocab_tokens)
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # parts that are not what they should be
        raise BadInput(f"{path} is malformed ({error!r}); fetch it again") from error


def _by_kind(folder: Path, description: Mapping[str, Any], vocab_tokens: int) -> Vocabulary:
    kind, byte_fallback = description["model"].get("type"), description["model"].get("byte_fallback")
    if kind == "Unigram":
        return vocabulary_sentencepiece.from_unigram_json(folder, description, vocab_tokens)
    if kind == "BPE" and byte_fallback:
        return vocabulary_sentencepiece.from_bpe_json(folder, description, vocab_tokens)
    if kind == "BPE":
        return vocabulary_bpe.from_byte_level_json(folder, description, vocab_tokens)
    raise UsageError(f"{folder / JSON} is of kind {kind}, and engines know Unigram and BPE; no GGUF can hold it")


# By file, the one to prefer first: llama.cpp's own script takes tokenizer.model where there is one, too.
READERS: Mapping[str, Callable[[Path, int], Vocabulary]] = {
    JSONL: vocabulary_plamo.from_tokenizer_jsonl,
    MODEL: vocabulary_sentencepiece.from_tokenizer_model,
    JSON: _from_tokenizer_json,
}
