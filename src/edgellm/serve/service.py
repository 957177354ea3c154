"""What the endpoints share: one named model with its chat and the settings that requests may leave out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.types import Receive

from edgellm.errors import EdgellmError
from edgellm.inference.answer import AnswerReader
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.generation import Request as GenerationRequest
from edgellm.inference.local_chat import LocalChat
from edgellm.records.openai import GenerationBody, Health
from edgellm.serve.problems import Problem, problem_of
from edgellm.serve.stream import Answers


@dataclass(frozen=True)
class Service:
    name: str
    chat: LocalChat
    defaults: SamplingOptions = field(default_factory=SamplingOptions)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def models(self) -> dict[str, str | None]:
        """What a request may name: the model itself, and it with each of its LoRA adapters."""
        adapters = self.chat.scheduler.info.adapters
        return {self.name: None} | {f"{self.name}:{adapter}": adapter for adapter in adapters}

    def model_of(self, asked: str | None) -> str:
        """The full name of the model that a request names, if it names any; raises Problem 404 for another."""
        name = self.name if asked is None else asked
        if name not in self.models:
            served = ", ".join(repr(each) for each in self.models)
            message = f"there is no model {name!r} here; this server serves {served}"
            raise Problem(404, message, param="model", code="model_not_found")
        return name

    def sampling(self, body: GenerationBody) -> SamplingOptions:
        def chosen(asked: float | None, default: float) -> float:
            return default if asked is None else asked

        return SamplingOptions(
            temperature=chosen(body.temperature, self.defaults.temperature),
            top_p=chosen(body.top_p, self.defaults.top_p),
            top_k=self.defaults.top_k if body.top_k is None else body.top_k,
            min_p=chosen(body.min_p, self.defaults.min_p),
            seed=body.seed,
        )

    def answers(self, receive: Receive, pairs: Sequence[tuple[GenerationRequest, AnswerReader]], param: str) -> Answers:
        """Submit the generations of one HTTP request; raises Problem. `param` is the field of the prompt."""
        scheduler = self.chat.scheduler
        try:
            return Answers(receive, scheduler, pairs)
        except EdgellmError as error:
            problem = problem_of(error, param)
            if problem.status == 500 and scheduler.failure is not None:
                raise Problem(
                    503,
                    f"the model is no longer running ({error}); restart the server",
                    kind="server_error",
                    code="engine_dead",
                ) from error
            raise problem from error

    def health(self) -> Health:
        state = self.chat.scheduler.state()
        return Health(
            status="ok" if self.chat.scheduler.failure is None else "failed",
            model=self.name,
            running=state.running,
            waiting=state.waiting,
            sequences=state.sequences,
            batch_invariant=self.chat.scheduler.info.batch_invariant,
            steps=state.steps,
            widest_step=state.widest_step,
            prompt_tokens=state.prompt_tokens,
            completion_tokens=state.completion_tokens,
            failed_steps=state.failed_steps,
        )
