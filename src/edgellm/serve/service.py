"""What the endpoints share: the models by name, and the settings that requests may leave out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from edgellm.errors import EdgellmError, EngineRestarting
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.generation import SchedulerState
from edgellm.inference.local_chat import LocalChat
from edgellm.records.openai.listing import Health
from edgellm.serve.outcome import Observer
from edgellm.serve.problems import Problem, problem_of
from edgellm.serve.shelf import Offer, Shelf

RETRY_S = 5


@dataclass(frozen=True)
class ModelInUse:
    """A loaded model as one request names it."""

    name: str  # with its adapter
    adapter: str | None
    chat: LocalChat
    defaults: SamplingOptions
    created: int  # when the request came, Unix time in seconds


class Service:
    """The models that a server offers. The first one is what a request that names none is answered by."""

    def __init__(self, offers: Sequence[Offer], *, memory_bytes: int | None = None, max_waiting: int = 64) -> None:
        """Raises as `Shelf`."""
        self.created = int(time.time())
        self.observers: list[Observer] = []  # each is told what became of every request that generates
        self.cache_scope: Literal["key", "all"] = "key"  # between whom computed prompts are shared
        self.draining = False  # whether no request is taken any more
        self._ready = False  # whether the first model has been loaded
        self._offers = {offer.name: offer for offer in offers}
        self._shelf = Shelf(offers, memory_bytes=memory_bytes, max_waiting=max_waiting)
        self._models: dict[str, tuple[Offer, str | None]] = {}
        for offer in offers:
            self._models[offer.name] = (offer, None)
            self._models |= {f"{offer.name}:{adapter}": (offer, adapter) for adapter in offer.adapters}

    @property
    def models(self) -> Sequence[str]:
        """What a request may name: each model, and it with each of its LoRA adapters."""
        return list(self._models)

    @property
    def loaded(self) -> Mapping[str, LocalChat]:
        """The models that are in memory, by name without adapter."""
        return self._shelf.loaded

    def chat_of(self, name: str) -> LocalChat | None:
        """What answers for a name of `models`; None while it is not loaded."""
        return self.loaded.get(self._models[name][0].name)

    def model_of(self, asked: str | None) -> str:
        """The full name of the model that a request names, if it names any; raises Problem 404 for another."""
        name = next(iter(self._models)) if asked is None else asked
        if name not in self._models:
            served = ", ".join(repr(each) for each in self._models)
            message = f"there is no model {name!r} here; this server serves {served}"
            raise Problem(404, message, param="model", code="model_not_found")
        return name

    @asynccontextmanager
    async def using(self, asked: str | None) -> AsyncIterator[ModelInUse]:
        """The model that a request names, loaded if need be; it is not dropped within the block, nor before what is
        submitted within the block has ended. Raises Problem: 404, 429, 503 and, if it cannot be loaded, 500."""
        name = self.model_of(asked)
        if self.draining:
            headers = {"Retry-After": str(RETRY_S), "Connection": "close"}
            message = "the server is about to stop and takes no more requests; try again later"
            raise Problem(503, message, kind="server_error", code="shutting_down", headers=headers)
        offer, adapter = self._models[name]
        try:
            async with self._shelf.using(offer.name) as chat:
                yield ModelInUse(name, adapter, chat, offer.defaults, int(time.time()))
        except EdgellmError as error:
            raise problem_of(error) from error

    async def load_first(self) -> LocalChat:
        """Load the first model; raises what loading raises."""
        async with self._shelf.using(next(iter(self._offers))) as chat:
            self._ready = True
            return chat

    async def close(self, patience_s: float) -> None:
        """End every model; what is under way ends with EngineFailed."""
        await self._shelf.close(patience_s)

    def states(self) -> Mapping[str, SchedulerState]:
        """Of each model that is in memory, by name without adapter."""
        return {name: chat.scheduler.state() for name, chat in self.loaded.items()}

    def health(self) -> Health:
        first = next(iter(self._offers))
        chats = list(self.loaded.values())
        states = list(self.states().values())
        return Health(
            status=self._status(),
            model=first,
            running=sum(state.running for state in states),
            waiting=sum(state.waiting for state in states),
            sequences=sum(state.sequences for state in states),
            batch_invariant=bool(chats) and all(chat.scheduler.info.batch_invariant for chat in chats),
            steps=sum(state.steps for state in states),
            widest_step=max((state.widest_step for state in states), default=0),
            prompt_tokens=sum(state.prompt_tokens for state in states),
            completion_tokens=sum(state.completion_tokens for state in states),
            failed_steps=sum(state.failed_steps for state in states),
        )

    def _status(self) -> Literal["ok", "loading", "restarting", "failed", "draining"]:
        failures = [chat.scheduler.failure for chat in self.loaded.values()]
        if self.draining:
            return "draining"
        if any(failure is not None and not isinstance(failure, EngineRestarting) for failure in failures):
            return "failed"
        if any(failures):
            return "restarting"
        return "ok" if self._ready else "loading"
