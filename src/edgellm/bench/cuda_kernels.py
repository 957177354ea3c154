"""The same for an NVIDIA GPU, by the libraries that come with CUDA and with every engine that uses it.

    python -m edgellm.bench.cuda_kernels NUMBER

Prints one JSON object; with the key `error` where the libraries or the GPU are not to be had.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_void_p
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

MAJOR_VERSIONS = ("13", "12", "11.0", "11")
TO_DEVICE, WITHIN_DEVICE = 1, 3  # enum cudaMemcpyKind
AS_IT_IS, TRANSPOSED = 0, 1  # enum cublasOperation_t
F16, IN_F32, BY_ITSELF = 2, 68, -1  # CUDA_R_16F, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT
BUFFER_BYTES = 2 << 30
PATTERN_BYTES = 64 << 20
VECTOR = 8192
WIDTH = 8192
RUNS, BATCH = 8, 4  # the best of so many batches of so many runs


class Refused(Exception):
    pass


class Cuda:
    """A GPU with CUDA's runtime and cuBLAS; raises Refused where something is not to be had."""

    def __init__(self, runtime: Any, blas: Any, number: int) -> None:
        self.runtime, self.blas = runtime, blas
        declare(runtime, blas)
        self.call("cudaSetDevice", number)
        self.handle = c_void_p()
        self.call_blas("cublasCreate_v2", byref(self.handle))
        self.events = [c_void_p(), c_void_p()]
        for event in self.events:
            self.call("cudaEventCreate", byref(event))

    def call(self, function: str, *arguments: Any) -> None:
        code = getattr(self.runtime, function)(*arguments)
        if code:
            raise Refused(f"{function}: {self.runtime.cudaGetErrorString(code).decode()}")

    def call_blas(self, function: str, *arguments: Any) -> None:
        code = getattr(self.blas, function)(*arguments)
        if code:
            raise Refused(f"{function} gave the code {code}")

    def free_bytes(self) -> int:
        free, total = c_size_t(), c_size_t()
        self.call("cudaMemGetInfo", byref(free), byref(total))
        return free.value

    def room(self, size_bytes: int) -> c_void_p:
        pointer = c_void_p()
        self.call("cudaMalloc", byref(pointer), size_bytes)
        return pointer

    def filled(self, size_bytes: int, pattern: np.ndarray[Any, Any]) -> c_void_p:
        """Memory with the pattern again and again: numbers that are all equal take less power than real ones do."""
        pointer = self.room(size_bytes)
        for at in range(0, size_bytes, pattern.nbytes):
            part = min(pattern.nbytes, size_bytes - at)
            self.call("cudaMemcpy", offset(pointer, at), pattern.ctypes.data, part, TO_DEVICE)
        return pointer

    def best_seconds(self, run: Callable[[], None]) -> float:
        """Of one run, by the GPU's own clock."""
        begin, end = self.events
        run()
        best = float("inf")
        for _ in range(RUNS):
            self.call("cudaEventRecord", begin, None)
            for _ in range(BATCH):
                run()
            self.call("cudaEventRecord", end, None)
            self.call("cudaEventSynchronize", end)
            elapsed_ms = c_float()
            self.call("cudaEventElapsedTime", byref(elapsed_ms), begin, end)
            best = min(best, elapsed_ms.value / 1e3 / BATCH)
        return best


def declare(runtime: Any, blas: Any) -> None:
    """Types of what is called: a pointer that is passed as an int would lose its upper half."""
    pointers = POINTER(c_void_p)
    runtime.cudaGetErrorString.restype = c_char_p
    runtime.cudaMalloc.argtypes = [pointers, c_size_t]
    runtime.cudaFree.argtypes = [c_void_p]
    runtime.cudaMemcpy.argtypes = [c_void_p, c_void_p, c_size_t, c_int]
    runtime.cudaMemGetInfo.argtypes = [POINTER(c_size_t), POINTER(c_size_t)]
    runtime.cudaEventCreate.argtypes = [pointers]
    runtime.cudaEventRecord.argtypes = [c_void_p, c_void_p]
    runtime.cudaEventSynchronize.argtypes = [c_void_p]
    runtime.cudaEventElapsedTime.argtypes = [POINTER(c_float), c_void_p, c_void_p]
    numbers, floats = [c_int, c_int], POINTER(c_float)
    blas.cublasCreate_v2.argtypes = [pointers]
    blas.cublasSasum_v2.argtypes = [c_void_p, c_int, c_void_p, c_int, floats]
    blas.cublasSgemv_v2.argtypes = [
        c_void_p, c_int, *numbers, floats, c_void_p, c_int, c_void_p, c_int, floats, c_void_p, c_int,
    ]  # fmt: skip
    matrix = [c_void_p, c_int, c_int]  # where, type, distance of columns
    blas.cublasGemmEx.argtypes = [
        c_void_p, *numbers, *numbers, c_int, floats, *matrix, *matrix, floats, *matrix, c_int, c_int,
    ]  # fmt: skip


def main() -> None:
    try:
        print(json.dumps(measure(Cuda(library("cudart"), library("cublas"), int(sys.argv[1])))))
    except Refused as error:
        print(json.dumps({"error": f"the GPU cannot be measured ({error})"}))


def measure(cuda: Cuda) -> dict[str, object]:
    size = min(BUFFER_BYTES, cuda.free_bytes() // 4) // (4 * VECTOR) * (4 * VECTOR)
    readers = read_rates(cuda, size)
    reader = max(readers, key=lambda name: readers[name])
    width = WIDTH if cuda.free_bytes() > 8 * WIDTH * WIDTH else WIDTH // 4
    return {
        "device": name_of(cuda), "reader": reader, "bytes_per_s": readers[reader], "readers": readers,
        "size_bytes": size, "flops_per_s": product_rate(cuda, width), "width": width,
    }  # fmt: skip


def read_rates(cuda: Cuda, size_bytes: int) -> dict[str, float]:
    """Bytes a second of each kernel; a copy within the GPU reads and writes, which both count."""
    pattern = np.random.default_rng(0).standard_normal(PATTERN_BYTES // 4, np.float32)
    source, target = cuda.filled(size_bytes, pattern), cuda.room(size_bytes)
    count = size_bytes // 4
    one, nothing, total = c_float(1.0), c_float(0.0), c_float()

    def add() -> None:
        cuda.call_blas("cublasSasum_v2", cuda.handle, count, source, 1, byref(total))

    def multiply() -> None:
        cuda.call_blas(
            "cublasSgemv_v2", cuda.handle, TRANSPOSED, VECTOR, count // VECTOR, byref(one), source, VECTOR, source, 1,
            byref(nothing), target, 1,
        )  # fmt: skip

    def copy() -> None:
        cuda.call("cudaMemcpy", target, source, size_bytes, WITHIN_DEVICE)

    rates = {
        "cuBLAS's sum": size_bytes / cuda.best_seconds(add),
        "cuBLAS's product of matrix and vector": size_bytes / cuda.best_seconds(multiply),
        "a copy within the GPU": 2 * size_bytes / cuda.best_seconds(copy),
    }
    for pointer in (source, target):
        cuda.call("cudaFree", pointer)
    return rates


def product_rate(cuda: Cuda, width: int) -> float:
    """Floating-point operations a second of f16 matrices with sums in f32, on the tensor cores where there are any."""
    size_bytes = 2 * width * width
    pattern = np.random.default_rng(1).standard_normal(PATTERN_BYTES // 4, np.float32).astype(np.float16)
    one, other, product = cuda.filled(size_bytes, pattern), cuda.filled(size_bytes, pattern), cuda.room(size_bytes)
    alpha, beta = c_float(1.0), c_float(0.0)
    matrix = (F16, width)

    def multiply() -> None:
        cuda.call_blas(
            "cublasGemmEx", cuda.handle, AS_IT_IS, AS_IT_IS, width, width, width, byref(alpha), one, *matrix,
            other, *matrix, byref(beta), product, *matrix, IN_F32, BY_ITSELF,
        )  # fmt: skip

    return 2 * width**3 / cuda.best_seconds(multiply)


def name_of(cuda: Cuda) -> str:
    """The first field of cudaDeviceProp, which has been the name, of up to 256 bytes, in every version."""
    properties = ctypes.create_string_buffer(1 << 14)
    number = c_int()
    cuda.call("cudaGetDevice", byref(number))
    cuda.call("cudaGetDeviceProperties", properties, number.value)
    return properties.value.decode(errors="replace")


def offset(pointer: c_void_p, at: int) -> c_void_p:
    return c_void_p((pointer.value or 0) + at)


def library(stem: str) -> ctypes.CDLL:
    """A library of CUDA, from wherever an engine would find it; raises Refused with what to install."""
    for name in places(stem):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise Refused(f"lib{stem} is not found; install CUDA's runtime libraries, or set CUDA_HOME to their folder")


def places(stem: str) -> Iterator[str]:
    names = [f"lib{stem}.so", *(f"lib{stem}.so.{version}" for version in MAJOR_VERSIONS)]
    yield from names
    found = find_library(stem)
    if found:
        yield found
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    compiler = shutil.which("nvcc")
    if compiler:
        homes.append(str(Path(compiler).resolve().parent.parent))
    for home in (*homes, "/usr/local/cuda"):
        for folder in ("lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"):
            yield from (str(Path(home, folder, name)) for name in names)
    packages = find_spec("nvidia")  # where pip puts them
    for folder in (packages.submodule_search_locations or []) if packages else []:
        yield from map(str, sorted(Path(folder).glob(f"*/lib/lib{stem}.so*"), reverse=True))


if __name__ == "__main__":
    main()
