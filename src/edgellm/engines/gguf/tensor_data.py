"""The tensor data of a converted checkpoint: read, arranged and rounded in blocks by every usable core, and written
in the file's order."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as TensorType
from llama_cpp._ggml import libggml
from numpy.typing import NDArray

from edgellm.engines.cores import usable_cores
from edgellm.errors import BadInput
from edgellm.families.family import Bytes, Floats, PackedWeight, Weight
from edgellm.store.checkpoint import Checkpoint, StoredTensor

BLOCK_ELEMENTS = 1 << 20  # values converted at once: more do not fit a core's cache, and memory is asked for anew
AHEAD_ELEMENTS = 1 << 26  # values that may be read before those in front of them are written: 256 MiB in float32

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Block:
    """`elements` values of a tensor, in float32 or as the bytes that the file will hold."""

    elements: int
    read: Callable[[], Floats | Bytes]


@dataclass(frozen=True)
class Planned:
    """One tensor of the file, in blocks."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    blocks: Iterable[Block]

    @property
    def size_bytes(self) -> int:
        block_weights, block_bytes = gguf.GGML_QUANT_SIZES[self.type]
        return prod(self.shape) // block_weights * block_bytes


def write_tensors(file: IO[bytes], tensors: Sequence[Planned], where: Path, on_progress: Progress | None) -> None:
    """Write all tensors from the file's next multiple of the alignment on, each padded to it.

    Raises BadInput for weights that are not finite, or too large for F16.
    """
    done, total = 0, sum(tensor.size_bytes for tensor in tensors)
    pad(file)
    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            for data, last in in_order(pool, tensors, where):
                file.write(data.data.cast("B"))
                done += data.nbytes
                if last:
                    pad(file)
                if on_progress:
                    on_progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def in_order(
    pool: ThreadPoolExecutor, tensors: Sequence[Planned], where: Path
) -> Iterator[tuple[NDArray[Any], bool]]:  # fmt: skip
    """Bytes of every block, and whether it is its tensor's last, while the next ones are worked on."""
    waiting: deque[tuple[int, bool, Future[NDArray[Any]]]] = deque()
    ahead = 0
    for tensor in tensors:
        blocks = list(tensor.blocks)
        for number, block in enumerate(blocks, 1):
            while waiting and ahead + block.elements > AHEAD_ELEMENTS:
                elements, last, found = waiting.popleft()
                ahead -= elements
                yield found.result(), last
            waiting.append((block.elements, number == len(blocks), pool.submit(encoded, block, tensor, where)))
            ahead += block.elements
    for _, last, found in waiting:
        yield found.result(), last


def pad(file: IO[bytes]) -> None:
    file.write(bytes(-file.tell() % gguf.GGUF_DEFAULT_ALIGNMENT))


def blocks_of(source: Checkpoint, weight: Weight | PackedWeight) -> list[Block]:
    """The weight's values in blocks of whole rows; a source that is rearranged comes in one block, or one a matrix
    where it holds as many of them as the weight does. A packed weight comes in one block an expert."""
    if isinstance(weight, PackedWeight):
        inputs = [source.tensors[name] for name, _ in weight.inputs]
        return [packed_expert(inputs, weight, expert) for expert in range(weight.shape[0])]
    found = []
    for name in weight.sources:
        stored = source.tensors[name]
        if weight.arrange is not None:
            several = len(stored.shape) == len(weight.shape) == 3
            matrices = stored.shape[0] if several else 1
            found += [arranged(stored, weight.arrange, matrices, place) for place in range(matrices)]
            continue
        rows = max(1, BLOCK_ELEMENTS * stored.shape[0] // stored.elements)
        found += [part(stored, first, rows) for first in range(0, stored.shape[0], rows)]
    return found


def packed_expert(inputs: Sequence[StoredTensor], weight: PackedWeight, expert: int) -> Block:
    chosen = slice(expert, expert + 1)
    return Block(prod(weight.shape[1:]), lambda: weight.arrange([stored.read(chosen) for stored in inputs], expert))


def arranged(stored: StoredTensor, arrange: Callable[[Floats], Floats], parts: int, place: int) -> Block:
    """Part number `place` of `parts` equal ones."""
    rows = stored.shape[0] // parts
    chosen = slice(place * rows, (place + 1) * rows)
    return Block(stored.elements // parts, lambda: arrange(finite_values(stored, chosen)))


def part(stored: StoredTensor, first: int, rows: int) -> Block:
    chosen = slice(first, min(first + rows, stored.shape[0]))
    elements = stored.elements // stored.shape[0] * (chosen.stop - first)
    return Block(elements, lambda: finite_values(stored, chosen))


def finite_values(stored: StoredTensor, rows: slice) -> Floats:
    """Some rows in float32; raises BadInput with the first place that holds NaN or infinity."""
    with np.errstate(over="ignore"):  # an F64 beyond float32 becomes infinite, and is told below
        values = stored.read_float32(rows)
    finite = np.isfinite(values)
    if not finite.all():
        first = np.argwhere(~finite)[0]
        place = ", ".join(map(str, [rows.start + int(first[0]), *map(int, first[1:])]))
        raise BadInput(
            f"tensor {stored.name} in {stored.file} holds {values[tuple(first)]} at [{place}], so its weights "
            "are damaged; fetch the file again or give another checkpoint"
        )
    return values


def encoded(block: Block, tensor: Planned, where: Path) -> NDArray[Any]:
    """A block as the file holds it; raises BadInput if a value would become infinite."""
    values = block.read()
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    values = np.ascontiguousarray(values, np.float32)
    if tensor.type == TensorType.F32:
        return values
    if tensor.type == TensorType.BF16:
        return rounded(values, "ggml_cpu_fp32_to_bf16")
    found = rounded(values, "ggml_cpu_fp32_to_fp16")
    if not np.isfinite(found.view(np.float16)).all():
        raise BadInput(f"{tensor.name} of {where} holds weights too large for F16; convert to BF16 or F32")
    return found


def rounded(values: Floats, function: str) -> NDArray[np.uint16]:
    """The 16 bits of each value, rounded to the nearest, ties to even; ggml does it 30 times as fast as NumPy."""
    found = np.empty(values.shape, np.uint16)
    call = getattr(libggml, function)
    call.restype, call.argtypes = None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    call(values.ctypes.data, found.ctypes.data, values.size)
    return found
