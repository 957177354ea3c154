"""Whom an evaluation asks: a model that is loaded here, or one behind a URL, each with what tells it from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from edgellm.build.benched_model import benched_model
from edgellm.build.opening import runnable
from edgellm.engines.protocol import RuntimeInfo, RuntimeOptions
from edgellm.errors import UsageError
from edgellm.evals.chat_model import ChatModel, Patience
from edgellm.evals.local_model import LocalModel
from edgellm.inference.remote_chat import RemoteChat
from edgellm.inference.target import Target, resolve
from edgellm.language.tokenizer_files import tokenizer_file
from edgellm.records.bench import BenchedModel
from edgellm.stages import Progress
from edgellm.store import catalogue, digest
from edgellm.store.network import need_network
from edgellm.store.work import WorkFolder

SCHEMES = ("http://", "https://")


@dataclass(frozen=True)
class Asked:
    """A TARGET or the URL of an OpenAI-compatible server, and how it is loaded or spoken to."""

    place: str
    name: str | None = None  # as the server calls the model; None: the first that it lists
    api_key: str | None = None
    options: RuntimeOptions = field(default_factory=RuntimeOptions)  # of a TARGET
    patience: Patience = field(default_factory=Patience)  # of a URL

    @property
    def is_url(self) -> bool:
        return self.place.startswith(SCHEMES)


@dataclass(frozen=True)
class AskedModel:
    """A model that can be asked. `identity`: what its answers depend on, as far as it can be known from here."""

    model: ChatModel | LocalModel
    record: BenchedModel | None  # None behind a URL
    identity: Mapping[str, Any]

    @property
    def info(self) -> RuntimeInfo | None:
        """Of the runtime, once it is loaded here."""
        return self.model.info if isinstance(self.model, LocalModel) else None


@contextmanager
def opened(
    asked: Asked, what: str, work: WorkFolder, progress: Progress | None = None
) -> Iterator[AskedModel]:  # fmt: skip
    """The model for the time of the block. One of this machine is loaded when it is first asked.

    `what` begins sentences about it: `the judge`. Raises what `resolve` and `runnable` raise for a TARGET; for a URL
    NetworkNeeded, UsageError for an address that is none, EngineFailed if the server is not there.
    """
    tell = progress.note if progress else None
    if asked.is_url:
        with remote(asked, what, tell) as found:
            yield found
        return
    if asked.name is not None:
        raise UsageError(f"{what} is {asked.place}, and only behind a URL is there a model to name; leave the name out")
    resolved = resolve(asked.place)
    recipe = resolved.name if resolved.kind == "recipe" or asked.place in catalogue.embedded_models() else None
    target = runnable(resolved, work, progress)
    record = benched_model(target, work, progress, recipe)

    def loaded(setup: str) -> None:
        if tell:
            tell(f"loaded {target.name}: {setup}")

    with LocalModel(target, asked.options, loaded) as model:
        yield AskedModel(model, record, identity_of(target, record, asked.options))


def identity_of(target: Target, record: BenchedModel, options: RuntimeOptions) -> dict[str, Any]:
    """Everything about a model of this machine that an answer depends on."""
    template = target.chat_template()
    ignored = ("threads", "sequences", "gpu_layers", "cpu_moe", "second_weights", "adapters")
    return {
        "sha256": record.sha256, "template": digest.of_value(template.text if template else None),
        "vocabulary": vocabulary_digest(target),
        "options": {name: value for name, value in asdict(options).items() if name not in ignored},
    }  # fmt: skip


def vocabulary_digest(target: Target) -> str | None:
    """Of the tokenizer's file; None where the artifact holds it, whose digest tells."""
    folder = target.tokenizer_folder
    name = tokenizer_file(folder) if folder is not None else None
    return digest.of_file(folder / name) if folder is not None and name is not None else None


@contextmanager
def remote(asked: Asked, what: str, tell: Callable[[str], None] | None) -> Iterator[AskedModel]:
    need_network(host_of(asked.place), what)
    with RemoteChat(asked.place, asked.name, asked.api_key) as listing:
        name = asked.name or listing.first_model()
    with RemoteChat(asked.place, name, asked.api_key) as chat:
        model = ChatModel(name, chat, asked.patience, tell)
        try:
            yield AskedModel(model, None, {"url": chat.base, "name": name})
        finally:
            model.close()


def host_of(url: str) -> str:
    """Raises UsageError for an address without one."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host:
        raise UsageError(f"{url!r} is no address of a server; write for example http://127.0.0.1:8080")
    return host
