"""Requests that mean no good, and honest ones between them whose secrets must never come back to anybody else.

Every request that carries text carries a mark of its own, so that an answer with another one's mark shows a leak.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
PATHS = (CHAT, TEXT, "/v1/responses", "/v1/embeddings", "/tokenize", "/detokenize")
MARK = re.compile(rb"mark-[0-9a-f]{16}")
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LARGE_BYTES = 10_000_000
READ_S = 60.0  # for an answer to come; one that does not is a hang

LEAVE_S = 0.05  # after which an attacker leaves, and between two reads of a slow one
CANARY = "canary"

Then = Literal["read", "read slowly", "leave"]


@dataclass(frozen=True)
class Attack:
    kind: str
    data: bytes
    mark: bytes = b""
    then: Then = "read"


@dataclass(frozen=True)
class Reply:
    attack: Attack
    data: bytes
    hung: bool = False

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in STATUS.findall(self.data)]

    @property
    def leaked(self) -> set[bytes]:
        """Marks of other requests."""
        return set(MARK.findall(self.data)) - {self.attack.mark}


class Enemy:
    """Makes attacks by a seed. `specials` are the texts of the model's special tokens."""

    def __init__(self, seed: int, specials: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._specials = list(specials)

    def attacks(self, count: int) -> Iterator[Attack]:
        """Every kind about equally often, but large bodies rarely: each of them costs as much as a hundred others."""
        kinds: list[Callable[[bytes], Attack]] = [
            self._bad_json, self._odd_values, self._odd_numbers, self._deep, self._surrogates, self._special_tokens,
            self._half_sent, self._odd_method, self._odd_path, self._headers, self._smuggled, self._pipelined,
            self._hung_up, self._slow_reader, self._schema,
        ]  # fmt: skip
        for n in range(count):
            mark = b"mark-%016x" % self._random.getrandbits(64)
            yield self._large(mark) if n % 250 == 100 else kinds[n % len(kinds)](mark)

    def _body(self, mark: bytes, **more: Any) -> dict[str, Any]:
        text = f"合言葉は{mark.decode()}です。"
        return {"messages": [{"role": "user", "content": text}], "prompt": text, "max_tokens": 2} | more

    def _post(
        self, kind: str, mark: bytes, body: bytes | dict[str, Any], then: Then = "read", path: str = ""
    ) -> Attack:  # fmt: skip
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = path or self._random.choice(PATHS[:2] if self._random.random() < 0.7 else PATHS)
        return Attack(kind, head("POST", path, len(raw)) + raw, mark, then)

    def _bad_json(self, mark: bytes) -> Attack:
        raw = bytearray(json.dumps(self._body(mark), ensure_ascii=self._random.random() < 0.5).encode())
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(raw))
            raw[at : at + self._random.randint(0, 3)] = self._random.randbytes(self._random.randint(0, 3))
        return self._post("bad JSON", mark, bytes(raw[: self._random.randint(1, len(raw))]))

    def _odd_values(self, mark: bytes) -> Attack:
        names = [
            "messages", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "stream", "n", "logit_bias",
            "tools", "tool_choice", "response_format", "logprobs", "top_logprobs", "stream_options", "model", "user",
            "input", "tokens", "content", "reasoning_effort", "frequency_penalty", "min_p", "ignore_eos", "metadata",
        ]  # fmt: skip
        values: list[Any] = [
            None, True, -1, 0, 1.5, "", "x" * 1000, [], {}, [[]], [None], {"": None}, ["a"] * 100, {"type": "x"},
            [{"role": "user"}], [{"role": "system", "content": ["a"]}], {"a": {"b": [1]}}, "\x00", [1e10],
            [{"type": "function", "function": {"name": "f", "parameters": {"type": "nothing"}}}],
        ]  # fmt: skip
        chosen = {self._random.choice(names): self._random.choice(values) for _ in range(3)}
        return self._post("odd values", mark, self._body(mark) | chosen)

    def _odd_numbers(self, mark: bytes) -> Attack:
        numbers = [
            "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1" + "0" * 400, "-" + "9" * 5000, "1e-400", "0x10",
            "1" * 100 + ".5", "9223372036854775808", "-0", "1e308", "00", "1_000", "18446744073709551616",
        ]  # fmt: skip
        names = ["max_tokens", "temperature", "seed", "top_k", "n", "top_p", "logit_bias", "top_logprobs", "min_p"]
        raw = json.dumps(self._body(mark) | {self._random.choice(names): "NUMBER"}).encode()
        return self._post("odd numbers", mark, raw.replace(b'"NUMBER"', self._random.choice(numbers).encode()))

    def _deep(self, mark: bytes) -> Attack:
        depth = self._random.choice([100, 900, 1100, 5000, 100_000])
        opening, closing = self._random.choice([(b"[", b"]"), (b'{"a":', b"}")])
        inside = opening * depth + b"1" + closing * depth
        field = self._random.choice([b"messages", b"tools", b"metadata", b"prompt", b"response_format"])
        raw = json.dumps(self._body(mark)).encode()[:-1] + b', "' + field + b'": ' + inside + b"}"
        return self._post("deep nesting", mark, self._random.choice([raw, inside, opening * depth]))

    def _surrogates(self, mark: bytes) -> Attack:
        lone = self._random.choice(["\ud800", "\udfff", "a\udc00b", "\ud83d", "\ud800\ud800"])
        field = self._random.choice(["prompt", "model", "stop", "user", "messages", "input", lone])
        value: Any = [{"role": "user", "content": lone}] if field == "messages" else lone
        return self._post("lone surrogates", mark, self._body(mark) | {field: value})

    def _special_tokens(self, mark: bytes) -> Attack:
        text = "".join(self._random.choices(self._specials, k=self._random.randint(1, 20))) + mark.decode()
        turns = [{"role": self._random.choice(["user", "system", "assistant"]), "content": text}]
        return self._post("special tokens", mark, {"messages": turns, "prompt": text, "max_tokens": 3})

    def _large(self, mark: bytes) -> Attack:
        raw = json.dumps(self._body(mark)).encode()
        filler = self._random.choice([
            raw[:-1] + b', "metadata": "' + b"x" * LARGE_BYTES + b'"}',
            b'{"prompt": [' + b"1," * (LARGE_BYTES // 2) + b"1]}",
            b'{"prompt": "' + mark + "海".encode() * (LARGE_BYTES // 3) + b'"}',
            b" " * LARGE_BYTES + raw,
            raw + b" " * (2 * LARGE_BYTES),
        ])  # fmt: skip
        return self._post("10 MB", mark, filler)

    def _half_sent(self, mark: bytes) -> Attack:
        whole = self._post("", mark, self._body(mark)).data
        return Attack("half sent", whole[: self._random.randrange(len(whole))], mark, "leave")

    def _odd_method(self, mark: bytes) -> Attack:
        methods = ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW", "post", "", "P" * 99]
        path = self._random.choice([*PATHS, "/health", "/", "/metrics"])
        return Attack("wrong methods", head(self._random.choice(methods), path, 0), mark)

    def _odd_path(self, mark: bytes) -> Attack:
        paths = [
            "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//", "/" + "a" * 60_000, "/%00", "/%ff%fe", "*", "",
            "http://other/v1/models", "/v1/models/" + "a/" * 500, "/?" + "q=1&" * 5000, "/v1/models/%E6%B5%B7", "/\x7f",
            "/v1/chat/completions/", "/V1/MODELS", "/v1/models?model=\ud800", "/#", "/;", "/v1/models/" + mark.decode(),
        ]  # fmt: skip
        method = self._random.choice(["GET", "POST"])
        return Attack("absurd paths", head(method, self._random.choice(paths), 0), mark)

    def _headers(self, mark: bytes) -> Attack:
        flood = self._random.choice([
            b"".join(b"x-%d: y\r\n" % n for n in range(5000)), b"x: " + b"y" * 200_000 + b"\r\n",
            b"authorization: Bearer \xff\xfe\r\n", b"x-request-id: " + mark * 50 + b"\r\n", b": no name\r\n",
            b"content-type: " + b"a;" * 5000 + b"\r\n", b"x-request-id: a\tb\r\n", b"upgrade: websocket\r\n"
            b"connection: upgrade\r\n", b"expect: 100-continue\r\n", b"cookie: " + b"a=b;" * 4000 + b"\r\n",
            b"origin: http://evil\r\n", b"accept-encoding: *;q=nan\r\n", b"x\x00y: z\r\n", b"x: a\rb\r\n",
        ])  # fmt: skip
        whole = self._post("header floods", mark, self._body(mark))
        first, _, rest = whole.data.partition(b"\r\n")
        return Attack(whole.kind, first + b"\r\n" + flood + rest, mark)

    def _smuggled(self, mark: bytes) -> Attack:
        raw = json.dumps(self._body(mark)).encode()
        lengths = self._random.choice([
            b"content-length: 5\r\ncontent-length: %d\r\n" % len(raw), b"content-length: -1\r\n",
            b"content-length: 99999999999999999999\r\n", b"content-length: 0x10\r\n",
            b"content-length: %d\r\ntransfer-encoding: chunked\r\n" % len(raw), b"transfer-encoding: gzip, x\r\n",
            b"transfer-encoding: chunked\r\n",
        ])  # fmt: skip
        bodies = [raw, b"zz\r\n" + raw, b"ffffffffffffffffff\r\n" + raw, b"5\r\nabc\r\n0\r\n\r\n", b"0\r\nx: y\r\n\r\n"]
        start = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        return Attack("smuggling", start + lengths + b"\r\n" + self._random.choice(bodies), mark, "leave")

    def _pipelined(self, mark: bytes) -> Attack:
        one = self._post("", mark, self._body(mark)).data.replace(b"connection: close\r\n", b"")
        get = head("GET", "/v1/models", 0).replace(b"connection: close\r\n", b"")
        many = b"".join(self._random.choice([one, get]) for _ in range(self._random.randint(2, 12)))
        return Attack("pipelining", many + head("GET", "/health", 0), mark)

    def _hung_up(self, mark: bytes) -> Attack:
        body = self._body(mark, max_tokens=self._random.choice([1, 50, 2000]), stream=self._random.random() < 0.5)
        return self._post("early hang-ups", mark, body | {"ignore_eos": True}, "leave", TEXT)

    def _slow_reader(self, mark: bytes) -> Attack:
        body = self._body(mark, max_tokens=40, stream=True, ignore_eos=True)
        return self._post("slow readers", mark, body, "read slowly", TEXT)

    def _schema(self, mark: bytes) -> Attack:
        schemas: list[Any] = [
            {"type": "string", "pattern": "(a|a)*(b|b)*$"}, {"type": "string", "pattern": "(((("}, {"$ref": "#"},
            {"type": "object", "properties": {str(n): {"type": "integer"} for n in range(300)}}, {"enum": []}, True,
            {"type": "string", "maxLength": 10**9}, {"allOf": [{"$ref": "#/a"}]}, {"type": "array", "minItems": 10**9},
            {"type": "string", "pattern": "(a{1000}){1000}"}, {"enum": ["x" * 9999]}, {"anyOf": [{"type": "nothing"}]},
            {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, {"const": "\ud800"},
        ]  # fmt: skip
        asked = {"type": "json_schema", "json_schema": {"name": "s", "schema": self._random.choice(schemas)}}
        return self._post("schemas", mark, self._body(mark, response_format=asked, max_tokens=8), path=CHAT)


def head(method: str, path: str, length: int) -> bytes:
    line = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return line.encode("utf-8", "surrogatepass") + b"content-length: %d\r\n\r\n" % length


async def storm(port: int, attacks: Iterator[Attack], at_once: int) -> list[Reply]:
    """Carry out all of them, so many at a time."""
    replies: list[Reply] = []

    async def soldier() -> None:
        for chosen in attacks:
            replies.append(await carried_out(port, chosen))

    await asyncio.gather(*(soldier() for _ in range(at_once)))
    return replies


async def carried_out(port: int, chosen: Attack) -> Reply:
    """One attack on a connection of its own."""
    data, hung = b"", False
    with suppress(OSError):  # the server may close whenever it has had enough
        sock = socket.socket()
        sock.setblocking(False)
        if chosen.then == "read slowly":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock)
        sending = asyncio.create_task(sent(writer, chosen.data))
        try:
            async with asyncio.timeout(LEAVE_S if chosen.then == "leave" else READ_S):
                while part := await reader.read(512 if chosen.then == "read slowly" else 1 << 20):
                    data += part
                    if chosen.then == "read slowly":
                        await asyncio.sleep(LEAVE_S)
        except TimeoutError:
            hung = chosen.then != "leave"
        finally:
            sending.cancel()
            writer.transport.abort()
    return Reply(chosen, data, hung)


async def sent(writer: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(OSError):
        writer.write(data)
        await writer.drain()


def with_canaries(attacks: Iterator[Attack], every: int) -> Iterator[Attack]:
    """Before each `every` of the attacks an honest request."""
    for n, each in enumerate(attacks):
        if n % every == 0:
            yield canary(b"mark-%016x" % n)
        yield each


def canary(mark: bytes) -> Attack:
    """An honest request, whose answer is the same whenever it is asked and whoever else is served."""
    text = f"合言葉は{mark.decode()}です。合言葉は何ですか。"
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 12}
    raw = json.dumps(body).encode()
    return Attack(CANARY, head("POST", CHAT, len(raw)) + raw, mark)


def wrongs(replies: Sequence[Reply]) -> list[str]:
    """What must not be: faults, hangs, leaks, canaries without an answer."""
    found = []
    for reply in replies:
        kind, shown = reply.attack.kind, f"{reply.attack.data[:300]!r} -> {reply.data[:600]!r}"
        if reply.leaked:
            found.append(f"leak to {kind}: {shown}")
        if reply.hung:
            found.append(f"hang of {kind}: {shown}")
        if any(status >= 500 and status not in (501, 503) for status in reply.statuses):
            found.append(f"fault on {kind}: {shown}")
        if kind == CANARY and reply.statuses not in ([200], [429]):
            found.append(f"canary without an answer: {shown}")
    return found


def answer_of(reply: Reply) -> str:
    """What a canary was answered."""
    return str(json.loads(reply.data.partition(b"\r\n\r\n")[2])["choices"][0]["message"])
