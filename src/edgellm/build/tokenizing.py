"""Exact ids of texts for whatever TARGET names, beside what the engine's own vocabulary would give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from edgellm.errors import UsageError
from edgellm.inference.target import Target, resolve
from edgellm.language.tokenizer import Tokenizer
from edgellm.records.tokenization import TokenizedText

LINES_AT_ONCE = 1024


class TextTokenizer:
    """A target's tokenizer and, for a GGUF or a SentencePiece vocabulary, llama.cpp's. A context manager."""

    def __init__(self, target: str) -> None:
        """Raises UsageError for a target that names nothing, BadInput for damaged tokenizer files."""
        resolved = resolve(target)
        if resolved.kind == "recipe":
            # Only here, for the pipeline brings every stage with it.
            from edgellm.build.sources import weights_behind

            resolved = weights_behind(resolved)
        self._tokenizer = resolved.tokenizer()
        self._open = ExitStack()
        path = self._vocabulary_file(resolved, self._tokenizer)
        self._engine = None
        if path is not None:
            from edgellm.engines.gguf.vocabulary_only import EngineVocabulary

            self._engine = self._open.enter_context(EngineVocabulary(path))
            if path != resolved.artifact:
                path.unlink()  # read, and a process that is ended in the middle leaves nothing behind

    def _vocabulary_file(self, target: Target, tokenizer: Tokenizer) -> Path | None:
        """The GGUF of the target. For files without an engine's, one is made that holds the vocabulary alone,
        as a conversion would write it; None for what is no GGUF's vocabulary."""
        if target.engine == "gguf":
            return target.artifact
        if target.kind not in ("checkpoint", "tokenizer") or tokenizer.sentencepieces is None:
            return None
        from edgellm.engines.gguf.vocabulary_only import write_vocabulary

        path = Path(self._open.enter_context(TemporaryDirectory(prefix="edgellm-"))) / "vocabulary.gguf"
        write_vocabulary(tokenizer, path)
        return path

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """One result a text. Raises UsageError for a text with a lone surrogate."""
        return [self._result(text, ids) for text, ids in zip(texts, self._tokenizer.encode_lines(texts), strict=True)]

    def tokenize_lines(self, lines: Iterable[str]) -> Iterator[TokenizedText]:
        """As `tokenize`, in blocks, so that a long input is answered while it is read."""
        rest = iter(lines)
        while block := list(islice(rest, LINES_AT_ONCE)):
            yield from self.tokenize(block)

    def _result(self, text: str, ids: list[int]) -> TokenizedText:
        tokens = [self._tokenizer.token(i) for i in ids]
        if self._engine is None:
            return TokenizedText(ids=ids, tokens=tokens)
        engine_ids = self._engine.encode(text)
        return TokenizedText(ids=ids, tokens=tokens, engine_ids=engine_ids, agrees=engine_ids == ids)

    def __enter__(self) -> TextTokenizer:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def read_lines(stream: Iterable[bytes]) -> Iterator[str]:
    """UTF-8 lines without the line feed, which alone ends a line. Raises UsageError for other bytes."""
    for number, line in enumerate(stream, 1):
        yield decoded(line.removesuffix(b"\n"), f"line {number}")


def decoded(data: bytes, what: str = "the text") -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{what} is not UTF-8 at byte {error.start}; convert it first, for example with iconv -t UTF-8"
        ) from None
