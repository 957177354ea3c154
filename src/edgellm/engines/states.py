"""The bytes in which every engine saves a sequence: what must agree, what is held, a checksum, the engine's own part.

An engine's library may abort the process over bytes that it did not write itself, so nothing reaches it before
everything here has been checked.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgellm.engines.protocol import RuntimeInfo
from edgellm.errors import BadInput

MAGIC = b"edgellm sequence 1"
HEADER = struct.Struct(
    f"<{len(MAGIC)}s32sQI"
)  # magic, SHA-256 of what must agree, tokens held, bytes of adapter's name
CHECKSUM = struct.Struct(
    "<I"
)  # CRC-32 of the header before it, and of the name (none where it is empty) and payload after
Payload = NDArray[np.uint8]


@dataclass(frozen=True)
class Saved:
    """What a sequence held when it was saved."""

    tokens: int
    adapter: str | None
    payload: Payload  # the engine's own part: a view into the bytes that were given


def pack(info: RuntimeInfo, tokens: int, adapter: str | None, payload: Payload) -> bytes:
    name = (adapter or "").encode()
    header = HEADER.pack(MAGIC, bytes.fromhex(info.state_digest), tokens, len(name))
    checksum = zlib.crc32(payload.data, zlib.crc32(header + name))
    return b"".join([header, CHECKSUM.pack(checksum), name, payload.data])


def unpack(info: RuntimeInfo, state: bytes) -> Saved:
    """Raises BadInput unless `state` came whole from `pack` in a runtime like this one."""
    begin = HEADER.size + CHECKSUM.size
    if len(state) < begin or not state.startswith(MAGIC):
        raise BadInput("these bytes are no saved sequence; feed its tokens instead")
    _, digest, tokens, name_bytes = HEADER.unpack_from(state)
    (checksum,) = CHECKSUM.unpack_from(state, HEADER.size)
    body = np.frombuffer(state, np.uint8, offset=begin)
    if name_bytes > len(body) or zlib.crc32(body.data, zlib.crc32(state[: HEADER.size])) != checksum:
        raise BadInput("this saved sequence is damaged; feed its tokens instead")
    name = body[:name_bytes].tobytes().decode(errors="replace")
    if digest.hex() != info.state_digest or (name and name not in info.adapters):
        raise BadInput("this sequence was saved by another model or with other options; feed its tokens instead")
    if tokens > info.context_tokens:
        raise BadInput(
            f"this saved sequence holds {tokens} tokens, but the context is {info.context_tokens}; "
            "open the model with more context"
        )
    return Saved(tokens, name or None, body[name_bytes:])


def file_marks(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change (ns) of a file, or of every file of a folder: what tells one artifact from another
    without reading it."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
