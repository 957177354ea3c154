"""A model that judges: asked through one place, which remembers every judgment and says who judged."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from edgellm.errors import EngineFailed, PromptTooLong, UsageError
from edgellm.evals.model import Model, Reply
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.records.evals import JudgeFingerprint
from edgellm.store import digest

FAILED_CALL = "$ERROR$"  # what FastChat writes in place of a judgment that could not be had
HOPELESS = 5  # judgments that fail one after another until the run ends: the judge is gone, not the question odd
MAX_TOKENS = 2048
CACHE_FILE = "judgments.jsonl"
PROBE = {
    "type": "object",
    "properties": {"probe": {"type": "string", "enum": ["held"]}},
    "required": ["probe"],
    "additionalProperties": False,
}


@runtime_checkable
class StructuredModel(Protocol):
    """A model that can be held to a JSON schema, as behind a server that takes `response_format`."""

    def structured_reply(
        self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None, schema: Mapping[str, Any]
    ) -> Reply:
        """As `Model.reply`; `content` is JSON that follows `schema`. Raises UsageError where the server has no such
        thing."""
        ...


@dataclass(frozen=True)
class Judgment:
    """What a judge said, without its thinking. `text` is FAILED_CALL where it gave nothing, and `error` says why."""

    text: str
    error: str = ""
    broke_off: bool = False  # it did not refuse, but failed: it may answer later
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.text == FAILED_CALL


class Judge:
    """Asks `model`, and never the same thing twice. May be called from several threads at once."""

    def __init__(
        self, model: Model, *, model_sha256: str | None = None, temperature: float = 0.0, cache: Path | None = None
    ) -> None:
        """`model_sha256`: of the artifact, where it is known. `cache`: folder for judgments of all runs."""
        self.model = model
        self.model_sha256 = model_sha256
        self.temperature = temperature
        self._known = Remembered(cache)
        self._lock = threading.Lock()
        self._asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._failed_in_a_row = 0
        self._has_judged = False

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        """Digest of who judges: judgments of two judges with different ones are never mixed."""
        return digest.of_value([self.name, self.model_sha256, self.temperature])

    def remember_in(self, folder: Path | None) -> None:
        """Keep judgments in `folder` from now on, unless a folder was given already."""
        if folder is not None and self._known.folder is None:
            self._known = Remembered(folder)

    def fingerprint(self, prompts: str, prompts_sha256: str, *, structured: bool = False) -> JudgeFingerprint:
        return JudgeFingerprint(
            name=self.name, model_sha256=self.model_sha256, prompts=prompts, prompts_sha256=prompts_sha256,
            temperature=self.temperature, structured=structured,
        )  # fmt: skip

    def can_structure(self) -> bool:
        """Whether the judge can be held to a JSON schema: it is asked once, in a way that shows it.

        Some servers pass over `response_format` in silence, so the answer is looked at.
        """
        if not isinstance(self.model, StructuredModel):
            return False
        try:
            said = self.ask("", "Reply with the word that you are allowed.", schema=PROBE, max_tokens=64)
        except UsageError:
            return False
        try:
            return bool(json.loads(said.text) == {"probe": "held"})
        except ValueError:
            return False

    def ask(
        self, system: str, prompt: str, *, schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = MAX_TOKENS, draw: int = 0, attempt: int = 0,
    ) -> Judgment:  # fmt: skip
        """What the judge says to `prompt`, by the cache if it was asked before.

        `schema`: the answer is JSON that follows it; raises UsageError if the judge cannot be held to one. `draw`
        tells judgments of the same text apart, which only matters above temperature 0. `attempt` counts how often
        the same judgment was asked for because its answer could not be read. A single failure is a Judgment; raises
        EngineFailed or UsageError if the judge has never answered, and EngineFailed if it fails again and again.
        """
        asked = {
            "judge": self.identity, "system": system, "prompt": prompt, "schema": schema, "max_tokens": max_tokens,
            "draw": draw if self.temperature else 0, "attempt": attempt,
        }  # fmt: skip
        key = digest.of_value(asked)
        with self._lock:
            asking = self._asking[key]
        with asking:  # whoever asks the same at the same time waits for this answer
            if (known := self._known.get(key)) is not None:
                return known
            said = self._asked(messages_of(system, prompt), schema, max_tokens)
            if not said.failed:  # what failed may succeed another day
                self._known.put(key, said)
            return said

    def _asked(self, messages: list[Message], schema: Mapping[str, Any] | None, max_tokens: int | None) -> Judgment:
        """The model itself asks again where a server is full or breaks off; what it raises is final."""
        began = time.perf_counter()
        try:
            reply = self._reply(messages, schema, max_tokens)
        except UsageError as error:
            # Too long for the judge is this judgment's fault; what else the very first is refused for, every one is.
            if not isinstance(error, PromptTooLong) and not self._has_judged:
                raise
            return Judgment(FAILED_CALL, str(error), seconds=time.perf_counter() - began)
        except EngineFailed as error:
            self._count_failure(error)
            return Judgment(FAILED_CALL, str(error), True, time.perf_counter() - began)
        with self._lock:
            self._failed_in_a_row, self._has_judged = 0, True
        return Judgment(reply.content, seconds=time.perf_counter() - began)

    def _reply(self, messages: list[Message], schema: Mapping[str, Any] | None, max_tokens: int | None) -> Reply:
        sampling = SamplingOptions(temperature=self.temperature, top_p=1.0)
        if schema is None:
            return self.model.reply(messages, sampling, max_tokens)
        if not isinstance(self.model, StructuredModel):
            raise UsageError(f"the judge {self.name} cannot be held to a JSON schema; ask it without one")
        return self.model.structured_reply(messages, sampling, max_tokens, schema)

    def _count_failure(self, error: EngineFailed) -> None:
        with self._lock:
            self._failed_in_a_row += 1
            hopeless = not self._has_judged or self._failed_in_a_row >= HOPELESS
        if hopeless:
            what = "see to it and run this again: what is done is kept"
            raise EngineFailed(f"the judge {self.name} gives no judgments ({error}); {what}")

    def close(self) -> None:
        self._known.close()


def messages_of(system: str, prompt: str) -> list[Message]:
    return [*([Message("system", system)] if system else []), Message("user", prompt)]


class Remembered:
    """Judgments by the digest of what was asked: in memory, and in a folder's file that only grows."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Judgment] = {}
        self._file = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / CACHE_FILE
            ended = self._read(path) if path.exists() else True
            self._file = path.open("ab", buffering=0)
            if not ended:
                self._file.write(b"\n")  # a kill cut the last line short: it stays, unread

    def _read(self, path: Path) -> bool:
        """Take in what can be read; gives whether the last line is whole."""
        text = path.read_bytes()
        for line in text.split(b"\n"):
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = Judgment(**entry["judgment"])
            except (ValueError, KeyError, TypeError):
                continue  # empty, or cut short: asked again
        return not text or text.endswith(b"\n")

    def get(self, key: str) -> Judgment | None:
        with self._lock:
            return self._known.get(key)

    def put(self, key: str, judgment: Judgment) -> None:
        """On the disk when this returns, by one write, so that two runs may share the file."""
        with self._lock:
            self._known[key] = judgment
            if self._file is not None:
                entry = {"key": key, "judgment": asdict(judgment)}
                self._file.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
                os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
