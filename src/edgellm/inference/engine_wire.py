"""Messages between a server's process and an engine's: pickles with their lengths, over a socket.

Both ends are the same program of the same user, so that a pickle is as safe as the program itself.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Iterator

LENGTH = struct.Struct("!Q")  # bytes of the pickle that follows
READ_BYTES = 1 << 16


class Wire:
    """One end. One thread sends and one receives, which may be two."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._room = bytearray(READ_BYTES)  # one for all reads: asking the system for memory takes longer than reading
        self._read = bytearray()  # what has come of messages that are not complete

    def fileno(self) -> int:
        return self._end.fileno()

    def close(self) -> None:
        self._end.close()

    def send(self, message: object) -> None:
        """Blocks while the other end does not listen; raises OSError when it is gone."""
        self.send_pickle(pickle.dumps(message))

    def send_pickle(self, pickled: bytes) -> None:
        self._end.sendall(LENGTH.pack(len(pickled)) + pickled)

    def receive(self) -> list[object]:
        """At least one message, in order, and whatever else has come by then; raises EOFError when the other end is
        gone, and OSError."""
        messages: list[object] = []
        while not messages:
            messages = self.receive_once()
        return messages

    def receive_once(self) -> list[object]:
        """The messages, if any, that are complete after a single read, which blocks where nothing has come."""
        size = self._end.recv_into(self._room)
        if not size:
            raise EOFError("the other process has gone away")
        self._read += memoryview(self._room)[:size]
        return list(self._complete())

    def _complete(self) -> Iterator[object]:
        start, read = 0, self._read
        while len(read) - start >= LENGTH.size:
            begin = start + LENGTH.size
            (length,) = LENGTH.unpack_from(read, start)
            if len(read) - begin < length:
                break
            yield pickle.loads(memoryview(read)[begin : begin + length].tobytes())
            start = begin + length
        del read[:start]
