"""A model in this process: it answers by its chat template, and tells how likely given texts are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cached_property
from typing import Any

from edgellm.engines.protocol import RuntimeInfo, RuntimeOptions
from edgellm.evals.chat_model import ChatModel, Patience
from edgellm.evals.likelihoods import SEQUENCES, Likelihoods
from edgellm.evals.model import Likelihood, Reply
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.inference.engine import EngineOrder, open_engine
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.target import Target
from edgellm.language.tokenizer import Tokenizer


class LocalModel:
    """Loaded when it is first asked, and only for what it is asked: answers, likelihoods, or both.

    May be called from several threads at once; within `with`, or until `close`.
    """

    def __init__(
        self, target: Target, options: RuntimeOptions, loading: Callable[[str], None] | None = None
    ) -> None:  # fmt: skip
        """`loading` hears the setup of each runtime that has been loaded, in words."""
        self.name = target.name
        self.info: RuntimeInfo | None = None  # once something is loaded
        self._target = target
        self._options = options
        self._loading = loading
        self._opened = ExitStack()
        self._opening = threading.Lock()  # also keeps the runtime of likelihoods for one at a time
        self._chat: ChatModel | None = None
        self._likelihoods: Likelihoods | None = None

    def reply(self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None) -> Reply:
        """As `Model.reply`."""
        return self._answering().reply(messages, sampling, max_tokens)

    def structured_reply(
        self, messages: Sequence[Message], sampling: SamplingOptions, max_tokens: int | None, schema: Mapping[str, Any]
    ) -> Reply:
        """As `ChatModel.structured_reply`."""
        return self._answering().structured_reply(messages, sampling, max_tokens, schema)

    def likelihoods(self, prompt: str, continuations: Sequence[str]) -> list[Likelihood]:
        """As `Model.likelihoods`; see `Likelihoods.of`."""
        with self._opening:
            if self._likelihoods is None:
                options = replace(self._options, sequences=SEQUENCES)
                runtime = self._opened.enter_context(closing(self._target.open_runtime(options)))
                self._told(runtime.info)
                self._likelihoods = Likelihoods(runtime, self._tokenizer)
            return self._likelihoods.of(prompt, continuations)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the exact tokenizer, without special ones."""
        return len(self._tokenizer.encode(text))

    def context_tokens(self) -> int:
        """How many tokens prompt and answer may have together; loads the model for that."""
        self._answering()
        assert self.info is not None
        return self.info.context_tokens

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._target.tokenizer()

    def close(self) -> None:
        if self._chat is not None:
            self._chat.close()
        self._opened.close()

    def __enter__(self) -> LocalModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answering(self) -> ChatModel:
        with self._opening:
            if self._chat is None:
                scheduler = self._opened.enter_context(open_engine(EngineOrder(self._target, self._options)))
                self._told(scheduler.info)
                chat = LocalChat(scheduler, self._tokenizer, self._target.chat_template())
                # An engine in this process that fails will fail again; only a full queue is worth a wait.
                self._chat = ChatModel(self.name, chat, Patience(breaks=0))
            return self._chat

    def _told(self, info: RuntimeInfo) -> None:
        self.info = info
        if self._loading:
            self._loading(info.setup)
