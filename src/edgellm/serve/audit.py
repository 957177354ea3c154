"""The audit log: who asked which model when, and what became of it; a hash chain, one line a request.

A line is written before the server lets go of its request, and brought to the disk by a thread right after: a killed
server loses none, a power cut at most those of the last moment. Where a line cannot be written, no more requests are
answered until the server is started again: what is not on record must not happen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from starlette.types import ASGIApp, Receive, Scope, Send

from edgellm.engines.gguf.split import read_parts
from edgellm.inference.target import Target, read_manifest
from edgellm.serve.outcome import Outcome
from edgellm.serve.problems import Problem
from edgellm.store import digest
from edgellm.store.hash_chain import ChainLog


class AuditLog:
    """Observes outcomes and writes them down. `failure` says why it cannot any more."""

    def __init__(self, path: Path, digests: Mapping[str, str], *, content: bool, say: Callable[[str], None]) -> None:
        """`digests`: by the name of each model, without adapter. `content`: whether texts are kept as well.

        Raises what `ChainLog` raises.
        """
        self.failure: str | None = None
        self._log = ChainLog(path)
        self._digests = digests
        self._content = content
        self._say = say
        self._lock = threading.Lock()
        self._unsynced = threading.Event()
        self._closing = False
        self._syncing = threading.Thread(target=self._sync, name="edgellm-audit", daemon=True)
        self._syncing.start()

    def observe(self, outcome: Outcome) -> None:
        """Write a line. Never raises: the answer has gone out already, and it is the next that must not."""
        with self._lock:
            if self.failure is not None:
                return
            try:
                self._log.append(self._line(outcome))
            except OSError as error:
                self._fail(error)
        self._unsynced.set()

    def close(self) -> None:
        """Bring everything to the disk and give the file back."""
        self._closing = True
        self._unsynced.set()
        self._syncing.join()
        self._log.close()

    def _line(self, outcome: Outcome) -> dict[str, object]:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(outcome.arrived, UTC).isoformat(timespec="milliseconds"),
            "request_id": outcome.request_id,
            "endpoint": outcome.endpoint,
            "key": outcome.caller,
            "model": outcome.model,
            "model_digest": self._digest(outcome.model),
            "outcome": outcome.ending,
            "status": outcome.status,
            "finish_reason": outcome.finish_reason,
            "error": outcome.error,
            "prompt_tokens": outcome.prompt_tokens,
            "cached_tokens": outcome.cached_tokens,
            "completion_tokens": outcome.completion_tokens,
            "queue_s": rounded(outcome.queue_s),
            "ttft_s": rounded(outcome.ttft_s),
            "decode_s": rounded(outcome.decode_s),
            "e2e_s": rounded(outcome.e2e_s),
        }
        if outcome.person:
            line["user"] = outcome.person
        if self._content:
            line |= {"prompt": outcome.prompt, "answer": outcome.answer}
        return {key: writable(value) if isinstance(value, str) else value for key, value in line.items()}

    def _digest(self, model: str) -> str:
        base = model if model in self._digests else model.rpartition(":")[0]  # without its adapter
        return self._digests.get(base, "")

    def _sync(self) -> None:
        while not self._closing:
            self._unsynced.wait()
            self._unsynced.clear()
            try:
                self._log.sync()
            except OSError as error:
                with self._lock:
                    self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = error.strerror or str(error)
            self._say(
                f"the audit log {self._log.path} cannot be written ({self.failure}), so no more requests are answered; "
                "mend that and start the server again"
            )


def rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def writable(text: str) -> str:
    """`text` as UTF-8 can hold it: a lone surrogate, which JSON may bring in, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


class AuditGate:
    """Lets nothing that asks for work pass while it could not be written down."""

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self._log.failure is not None:
            message = "the audit log cannot be written, so no requests are answered; tell whoever runs this server"
            await Problem(503, message, kind="server_error", code="audit_failed").response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


def artifact_digest(model: Target) -> str:
    """`sha256:…` of what an engine loads: of a bundle as its manifest says, of a file computed; where there are
    several files, of their names and digests. Raises BadInput for what cannot be read."""
    assert model.artifact is not None
    if model.kind == "bundle":
        manifest = read_manifest(model.path)
        artifact = PurePosixPath(manifest.artifact)
        found = {f.path: f.sha256 for f in manifest.files if PurePosixPath(f.path).is_relative_to(artifact)}
    else:
        paths = artifact_files(model.artifact)
        found = dict(zip((path.name for path in paths), digest.of_files(paths), strict=True))
    return next(iter(found.values())) if len(found) == 1 else digest.of_value(found)


def artifact_files(artifact: Path) -> Sequence[Path]:
    if artifact.is_dir():
        return sorted(path for path in artifact.iterdir() if path.is_file())
    files, _ = read_parts(artifact)
    return files
