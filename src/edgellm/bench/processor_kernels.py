"""Kernels that read memory as fast as they can, and one that multiplies; run as a program by `ceilings`.

    python -m edgellm.bench.processor_kernels THREADS BYTES

Prints one JSON object: the best reader, its rate, the rate of every reader, and floating-point operations a second.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

SECONDS_EACH = 0.5
LEAST_RUNS = 3
VECTOR = 8192  # columns of the matrix that is multiplied by a vector
FIRST_WIDTH, LAST_WIDTH, LONG_ENOUGH_S = 1024, 8192, 0.15  # of the product of two matrices
ABSENT = 0xA5  # a byte that the buffer, which holds 1.0 as float32, has nowhere

Floats = NDArray[np.float32]


def main() -> None:
    threads, size_bytes = map(int, sys.argv[1:])
    readers = read_rates(threads, size_bytes)
    reader = max(readers, key=lambda name: readers[name])
    width, flops = product_rate()
    found = {
        "reader": reader, "bytes_per_s": readers[reader], "readers": readers, "flops_per_s": flops, "width": width,
    }  # fmt: skip
    print(json.dumps(found))


def read_rates(threads: int, size_bytes: int) -> dict[str, float]:
    """Bytes a second of each reader, the best of several runs over a buffer of `size_bytes`."""
    rows = max(threads, size_bytes // (4 * VECTOR))
    matrix = np.empty((rows, VECTOR), np.float32)
    parts = np.array_split(matrix, threads)
    with ThreadPoolExecutor(threads) as pool:
        # Each thread touches its own part first, so that it lies in memory near its core.
        list(pool.map(lambda part: part.fill(1.0), parts))

        def each(kernel: Callable[[Floats], object]) -> Callable[[], object]:
            return lambda: list(pool.map(kernel, parts))

        vector = np.ones(VECTOR, np.float32)
        readers: dict[str, Callable[[], object]] = {
            "the C library's memchr": each(search),
            "NumPy's maximum": each(np.max),
            "NumPy's bitwise or": each(lambda part: np.bitwise_or.reduce(part.view(np.uint64), axis=None)),
            "BLAS's product of matrix and vector": lambda: matrix @ vector,
        }
        return {name: matrix.nbytes / best_seconds(run) for name, run in readers.items()}


def search(part: Floats) -> None:
    """Read every byte in search of one that is not there."""
    assert libc().memchr(part.ctypes.data, ABSENT, part.nbytes) is None, "the buffer holds a byte that it should not"


def libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None)  # calls through it run beside other threads of Python
    library.memchr.restype = ctypes.c_void_p
    library.memchr.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    return library


def product_rate() -> tuple[int, float]:
    """(width of the square matrices, floating-point operations a second), of f32 by BLAS in all threads.

    A product of two n × n matrices is 2n³ operations. The width grows until a product takes long enough to be timed.
    """
    width = FIRST_WIDTH
    while True:
        generator = np.random.default_rng(0)
        one, other = (generator.standard_normal((width, width), np.float32) for _ in range(2))
        seconds = best_seconds(lambda one=one, other=other: one @ other)  # type: ignore[misc]
        if seconds >= LONG_ENOUGH_S or width >= LAST_WIDTH:
            return width, 2 * width**3 / seconds
        width *= 2


def best_seconds(run: Callable[[], object]) -> float:
    """The shortest of at least three runs, and of as many as half a second has room for; one before is not counted."""
    run()
    seconds: list[float] = []
    while len(seconds) < LEAST_RUNS or sum(seconds) < SECONDS_EACH:
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
