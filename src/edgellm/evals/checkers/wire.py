"""Values and calls between two programs in two sandboxes: the tests in one, an answer's code in the other.

Messages are JSON with their length before them, never pickles: what comes from the answer can be a wrong value, but
not code. Its text goes into both sandboxes, so it uses the standard library alone.
"""

from __future__ import annotations

import builtins
import json
import socket
from collections import deque
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

LONGEST_MESSAGE_BYTES = 16 << 20
CONTAINERS: dict[type, str] = {
    list: "list", tuple: "tuple", set: "set", frozenset: "frozenset", deque: "deque",
}  # fmt: skip
TEXTS: dict[type, str] = {Decimal: "Decimal", Fraction: "Fraction"}
MAKE: dict[str, Callable[[Any], Any]] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque, "Decimal": Decimal,
    "Fraction": Fraction, "date": date.fromisoformat, "datetime": datetime.fromisoformat, "time": time.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts), "bytes": bytes.fromhex, "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*parts),
}  # fmt: skip
PAIRWISE = ("eq", "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "and", "or")


class Hung(Exception):  # not an error of the code that is tested
    """The other side is gone, or sent what cannot be taken."""


class Remote:
    """An object that stays on the other side; only its reference is here.

    Against a plain value it equals nothing, and arithmetic with plain values is not handed over: an object of the
    answer must never decide by itself what a test compares it with.
    """

    __slots__ = ("_number", "_peer")

    def __init__(self, peer: Peer, number: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._peer.ask("call", self, args, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("get", self, [name])

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self, [name, value])

    def __len__(self) -> int:
        return int(self._peer.ask("len", self))

    def __bool__(self) -> bool:
        return self._peer.ask("bool", self) is True

    def __str__(self) -> str:
        return str.__str__(self._peer.ask("str", self))

    def __repr__(self) -> str:
        return str.__str__(self._peer.ask("repr", self))

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("getitem", self, [key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._peer.ask("setitem", self, [key, value])

    def __delitem__(self, key: Any) -> None:
        self._peer.ask("delitem", self, [key])

    def __iter__(self) -> Iterator[Any]:
        items = self._peer.ask("iter", self)
        while True:
            try:
                yield self._peer.ask("next", items)
            except StopIteration:
                return

    def __next__(self) -> Any:
        return self._peer.ask("next", self)

    def __enter__(self) -> Any:
        return self._peer.ask("enter", self)

    def __exit__(self, *_: object) -> None:
        self._peer.ask("exit", self)

    def __hash__(self) -> int:
        return hash((id(self._peer), self._number))


def _pairwise(name: str) -> Callable[[Remote, Any], Any]:
    def operation(self: Remote, other: Any) -> Any:
        if not isinstance(other, Remote):
            return NotImplemented
        return self._peer.ask(name, self, [other])

    return operation


for _name in PAIRWISE:
    setattr(Remote, f"__{_name}__", _pairwise(_name))


class Peer:
    """One end. `serve`: what this end does for the other; it is given the operation, its object and the arguments."""

    def __init__(self, channel: socket.socket, serve: Callable[[str, Any, list[Any], dict[str, Any]], Any]) -> None:
        self._channel, self._serve = channel, serve
        self._lent: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._exceptions: dict[str, type[Exception]] = {}
        self.printed: Callable[[], str] = str  # what was printed here since it was last asked
        self.show: Callable[[str], object] = lambda text: None  # what to do with what was printed there

    def ask(self, operation: str, target: Any = None, args: Any = (), named: Any = None) -> Any:
        """Have the other side do something; meanwhile it may ask back. Raises what was raised there."""
        given = list(args)
        self._send({
            "do": operation, "on": self.pack(target), "args": [self.pack(one) for one in given],
            "named": {key: self.pack(one) for key, one in (named or {}).items()},
        })  # fmt: skip
        while "do" in (message := self._receive()):
            self._answer(message)
        self.show(str(message.get("printed", "")))
        for one, after in zip(given, message.get("after", ()), strict=False):
            _replace(one, self.unpack(after))
        if "raised" in message:
            raise self._exception(message["raised"])(message["text"])
        return self.unpack(message["value"])

    def serve_until_closed(self) -> None:
        while True:
            try:
                message = self._receive()
            except Hung:
                return
            self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        args: list[Any] = []
        try:
            args = [self.unpack(one) for one in message["args"]]
            named = {key: self.unpack(one) for key, one in message["named"].items()}
            value = self._serve(message["do"], self.unpack(message["on"]), args, named)
            reply: dict[str, Any] = {"value": self.pack(value)}
        except Hung:
            raise
        except BaseException as error:
            reply = {"raised": [kind.__name__ for kind in type(error).__mro__], "text": _said(error)}
        if message["do"] == "call":
            reply["after"] = [self.pack(one) if _replaceable(one) else None for one in args]
        self._send(reply | {"printed": self.printed()})

    def _send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message).encode()
        try:
            self._channel.sendall(len(text).to_bytes(8, "big") + text)
        except OSError as error:
            raise Hung("the program of the answer has ended") from error

    def _receive(self) -> dict[str, Any]:
        length = int.from_bytes(self._exactly(8), "big")
        if length > LONGEST_MESSAGE_BYTES:
            raise Hung("a value is too large")
        try:
            message = json.loads(self._exactly(length))
        except (ValueError, RecursionError) as error:
            raise Hung("a value cannot be read") from error
        if not isinstance(message, dict):
            raise Hung("a message is none")
        return message

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            try:
                piece = self._channel.recv(min(1 << 16, count - len(parts)))
            except OSError:
                piece = b""
            if not piece:
                raise Hung("the program of the answer has ended")
            parts += piece
        return bytes(parts)

    def pack(self, value: Any) -> Any:
        """As JSON holds it; what no value stands for is lent by its number."""
        if value is None or isinstance(value, (bool, float, str)):
            return value if type(value) in (type(None), bool, float, str) else _plain(value)
        if isinstance(value, int):
            return int.__int__(value)
        for kind, name in CONTAINERS.items():
            if isinstance(value, kind):
                return {"t": name, "v": list(map(self.pack, cast(Any, value)))}
        if isinstance(value, dict):
            return {"t": "dict", "v": [[self.pack(key), self.pack(one)] for key, one in dict.items(value)]}
        if isinstance(value, (bytes, bytearray)):
            return {"t": "bytes" if isinstance(value, bytes) else "bytearray", "v": bytes(value).hex()}
        if isinstance(value, complex):
            return {"t": "complex", "v": [value.real, value.imag]}
        if type(value) in TEXTS:
            return {"t": TEXTS[type(value)], "v": str(value)}
        if type(value) in (date, datetime, time):
            return {"t": type(value).__name__, "v": value.isoformat()}
        if type(value) is timedelta:
            return {"t": "timedelta", "v": [value.days, value.seconds, value.microseconds]}
        if type(value) is Remote:
            return {"t": "back", "v": value._number}
        if isinstance(value, type) and issubclass(value, Exception):
            return {"t": "exception", "v": [kind.__name__ for kind in value.__mro__], "n": self._lend(value)}
        return {"t": "lent", "v": self._lend(value)}

    def unpack(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kind, inner = value["t"], value["v"]
        if kind == "lent":
            return Remote(self, inner)
        if kind == "back":
            return self._lent[inner]
        if kind == "exception":
            return self._exception(inner)
        if kind == "dict":
            return {self.unpack(key): self.unpack(one) for key, one in inner}
        return MAKE[kind]([self.unpack(one) for one in inner] if kind in CONTAINERS.values() else inner)

    def _lend(self, value: Any) -> int:
        number = self._numbers.setdefault(id(value), len(self._lent))
        self._lent[number] = value  # kept, so that its id stays its own
        return number

    def _exception(self, names: list[str]) -> type[Exception]:
        """A class of this side for one of that: of the same name, below the nearest built-in one."""
        first = names[0]
        for name in names:
            known = getattr(builtins, name, None)
            if isinstance(known, type) and issubclass(known, Exception):
                return known if name == first else self._exceptions.setdefault(first, type(first, (known,), {}))
        return RuntimeError  # SystemExit, KeyboardInterrupt: never raised as such here


def _plain(value: Any) -> Any:
    """The value of a subclass, without what the subclass made of it."""
    return str.__str__(value) if isinstance(value, str) else float.__float__(value)


def _said(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except BaseException:
        return ""


def _replaceable(value: Any) -> bool:
    return type(value) in (list, dict, set, bytearray, deque)


def _replace(old: Any, new: Any) -> None:
    """Let a change that a call made to its argument be seen by the caller."""
    if not _replaceable(old) or type(old) is not type(new) or old == new:
        return
    if isinstance(old, (list, bytearray)):
        old[:] = new
    else:
        old.clear()
        old.extend(new) if isinstance(old, deque) else old.update(new)
