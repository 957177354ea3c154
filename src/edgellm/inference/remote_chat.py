"""Chat over HTTP with any OpenAI-compatible server. Talks to the host of the given URL and to no other."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import httpx

from edgellm.errors import EngineFailed, PromptTooLong, QueueFull, UsageError
from edgellm.inference.chat import Delta, FinishReason, Message, SamplingOptions, Usage

CONNECT_S = 10.0
SILENCE_S = 600.0  # a big model on a small machine may read a long prompt for minutes before its first word
FINISH_REASONS = ("stop", "length", "tool_calls")


class RemoteChat:
    """`url` is the server's root or its `/v1`; `model` may be left out where the server does not need it."""

    def __init__(self, url: str, model: str | None = None, api_key: str | None = None) -> None:
        """Raises UsageError if `url` is no http(s) address. No request is made yet."""
        base = url.rstrip("/").removesuffix("/chat/completions")
        if not base.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is no address of a server; it must begin with http:// or https://")
        self.base = base if base.endswith("/v1") else f"{base}/v1"
        self._url = f"{self.base}/chat/completions"
        self._model = model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # trust_env would let a proxy of the environment in between, also for 127.0.0.1.
        self._client = httpx.Client(
            headers=headers, timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S), trust_env=False
        )

    def stream(
        self,
        messages: Sequence[Message],
        sampling: SamplingOptions,
        max_tokens: int | None,
        stop: Sequence[str] = (),
        *,
        response_format: Mapping[str, Any] | None = None,
    ) -> Generator[Delta, None, None]:
        """As `Chat.stream`; `usage` is None if the server gives none. `response_format` is OpenAI's.

        Raises UsageError for what the server refuses (PromptTooLong, QueueFull where it says so) and
        EngineFailed if it cannot be reached, fails, or ends the stream before the answer is complete.
        """
        body = self._body(messages, sampling, max_tokens, stop)
        if response_format is not None:
            body["response_format"] = response_format
        try:
            with self._client.stream("POST", self._url, json=body) as response:
                if response.status_code != 200:
                    response.read()
                    raise refusal(self._url, response)
                yield from deltas(self._url, server_sent_data(response.iter_bytes()))
        except httpx.HTTPError as error:
            raise EngineFailed(
                f"{self._url} gave no answer ({error or type(error).__name__}); check that the server runs"
            ) from error

    def first_model(self) -> str:
        """The first name of `/v1/models`.

        Raises UsageError where the server refuses to list, or lists none, and EngineFailed where it cannot be reached.
        """
        url = f"{self.base}/models"
        try:
            response = self._client.get(url, timeout=CONNECT_S)
        except httpx.HTTPError as error:
            raise EngineFailed(
                f"{url} gave no answer ({error or type(error).__name__}); check that the server runs"
            ) from error
        if response.status_code != 200:
            raise refusal(url, response)
        try:
            return str(response.json()["data"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError):
            raise UsageError(f"{url} lists no model; name the one to ask") from None

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> RemoteChat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _body(
        self,
        messages: Sequence[Message],
        sampling: SamplingOptions,
        max_tokens: int | None,
        stop: Sequence[str],
    ) -> dict[str, object]:
        body: dict[str, object] = {
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        # Only what was asked for: servers differ in which of these they know.
        optional = {
            "model": self._model, "max_tokens": max_tokens, "stop": list(stop) or None, "seed": sampling.seed,
            "top_k": sampling.top_k or None, "min_p": sampling.min_p or None,
            "repetition_penalty": sampling.repetition_penalty if sampling.repetition_penalty != 1 else None,
            "frequency_penalty": sampling.frequency_penalty or None,
            "presence_penalty": sampling.presence_penalty or None,
        }  # fmt: skip
        return body | {name: value for name, value in optional.items() if value is not None}


def server_sent_data(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of server-sent events, cut at line feeds alone: U+2028 and U+0085 may stand in JSON."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[len(b"data:") :].strip().decode("utf-8", "replace")


def deltas(url: str, events: Iterable[str]) -> Generator[Delta, None, None]:
    """Deltas from the chunks of a stream; the last one is held until the usage that follows it has come."""
    reason: FinishReason | None = None
    usage: Usage | None = None
    for event in events:
        if event == "[DONE]":
            break
        chunk = parse_chunk(url, event)
        if counts := chunk.get("usage"):
            usage = Usage(int(counts["prompt_tokens"]), int(counts["completion_tokens"]))
        for choice in chunk.get("choices", [])[:1]:
            delta = choice.get("delta") or {}
            content = delta.get("content") or ""
            reasoning = delta.get("reasoning_content") or delta.get("reasoning") or ""
            if content or reasoning:
                yield Delta(content=content, reasoning=reasoning)
            if given := choice.get("finish_reason"):
                # Some servers have reasons of their own, such as "content_filter": it has ended as well.
                reason = cast(FinishReason, given) if given in FINISH_REASONS else "stop"
    if reason is None:
        raise EngineFailed(f"{url} ended the stream before the answer was complete; ask again")
    yield Delta(finish_reason=reason, usage=usage)


def parse_chunk(url: str, event: str) -> dict[str, Any]:
    try:
        chunk = json.loads(event)
    except ValueError:
        raise EngineFailed(f"{url} sent an event that is not JSON: {event[:80]!r}") from None
    if not isinstance(chunk, dict):
        raise EngineFailed(f"{url} sent an event that is no object: {event[:80]!r}")
    if error := chunk.get("error"):
        raise EngineFailed(f"{url} failed while it answered: {message_of(error)}")
    return chunk


def refusal(url: str, response: httpx.Response) -> Exception:
    """The exception that a status other than 200 amounts to."""
    try:
        error = response.json().get("error", {})
    except (ValueError, AttributeError):
        error = response.text[:200]
    message = f"{url} answered {response.status_code}: {message_of(error)}"
    if response.status_code == 429:
        wait = response.headers.get("retry-after", "")
        return QueueFull(message, int(wait) if wait.isdigit() else 1)
    if isinstance(error, dict) and error.get("code") == "context_length_exceeded":
        return PromptTooLong(message)
    return UsageError(message) if response.status_code < 500 else EngineFailed(message)


def message_of(error: object) -> str:
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)
