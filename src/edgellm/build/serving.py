"""From what `serve` was asked for to a service: its models, and what guards its door."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgellm.build.adapters import adapter_files, named_paths
from edgellm.build.opening import open_target
from edgellm.engines import memory_bytes
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.inference.advice import advised_sampling
from edgellm.inference.engine import EngineOrder
from edgellm.inference.engine_process import EngineProcess
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.target import Target
from edgellm.serve.audit import artifact_digest
from edgellm.serve.shelf import Offer
from edgellm.stages import Progress


@dataclass(frozen=True)
class Loader:
    """How models are loaded when their time comes."""

    options: RuntimeOptions
    scheduling: SchedulerOptions
    bounded: bool  # whether it matters how much memory they take
    showing: Callable[[str], AbstractContextManager[None]]  # shows that the model of this name is being loaded
    say: Callable[[str], None]

    def offer(self, target: Target, adapters: Mapping[str, Path]) -> Offer:
        # What a model takes must be known before it is loaded, so that nothing is tried out.
        second = False if self.bounded and self.options.second_weights is None else self.options.second_weights
        options = replace(self.options, adapters=adapters, second_weights=second)
        size = self._memory_bytes(target, options) if self.bounded else 0
        return Offer(target.name, partial(self._open, target, options), tuple(adapters), advised_sampling(target), size)

    def _memory_bytes(self, target: Target, options: RuntimeOptions) -> int:
        """Of the model with its adapters, the prompts that are kept beside it, and the model that drafts for it."""
        assert target.engine is not None
        assert target.artifact is not None
        size = memory_bytes(target.engine, target.artifact, options) + self.scheduling.cache_bytes
        size += sum(path.stat().st_size for path in options.adapters.values())
        draft = self.scheduling.draft
        return size if draft is None else size + memory_bytes("gguf", draft, replace(options, adapters={}))

    def _open(self, target: Target, options: RuntimeOptions, loop: AbstractEventLoop) -> LocalChat:
        with self.showing(target.name):
            tokenizer, template = target.tokenizer(), target.chat_template()
            engine = EngineProcess(EngineOrder(target, options, self.scheduling), tell=self.say, loop=loop)
        self.say(f"loaded {target.name}: {engine.info.setup}")
        return LocalChat(engine, tokenizer, template)


def offers(
    names: Sequence[str], lora: Sequence[str], loader: Loader, progress: Progress | None = None
) -> dict[Target, Offer]:  # fmt: skip
    """The models by what they are made of, in the order in which they are named; checkpoints and PEFT adapters are
    converted now. Raises UsageError for two models of one name, and for an adapter of a model that is not there."""
    targets = [open_target(name, progress) for name in names]
    called = [target.name for target in targets]
    for name in called:
        if called.count(name) > 1:
            raise UsageError(f"two models are called {name!r}; leave one out, or rename its folder or file")
    adapters = adapters_by_model(lora, called)
    files = [adapter_files(adapters[called[i]], names[i], progress) for i in range(len(names))]
    return {target: loader.offer(target, found) for target, found in zip(targets, files, strict=True)}


def adapters_by_model(lora: Sequence[str], models: Sequence[str]) -> dict[str, dict[str, Path]]:
    """What each `--lora` names, by model: NAME=PATH is the first model's, MODEL:NAME=PATH that model's."""
    found: dict[str, dict[str, Path]] = {model: {} for model in models}
    for name, path in named_paths(lora).items():
        model, told, adapter = name.rpartition(":")
        if told and model not in found:
            raise UsageError(f"--lora {name}={path} names no model that is served; those are {', '.join(models)}")
        found[model if told else models[0]][adapter] = path
    return found


def digests(targets: Iterable[Target]) -> dict[str, str]:
    """What the audit log writes down for each model."""
    return {target.name: artifact_digest(target) for target in targets}
