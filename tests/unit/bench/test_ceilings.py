"""Ceilings: what the kernels compute with, what is kept, and what is said where nothing can be measured."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgellm.bench import ceilings, cuda_kernels, processor_kernels
from edgellm.bench.ceilings import buffer_bytes, measure_ceilings
from edgellm.bench.machine import last_level_cache_bytes
from edgellm.bench.tree import Tree
from edgellm.errors import EngineFailed, UsageError
from edgellm.records.bench import Ceilings
from fake_machine import CPU, FakeMachine

GIB = 1 << 30
FOUND = Ceilings(memory_bandwidth_bytes_per_s=1e9, flops_per_s=2e9, device="cpu", threads=2, how="tested")


def test_the_buffer_is_many_times_the_cache_and_leaves_most_of_the_memory() -> None:
    assert buffer_bytes(32 << 20, 64 * GIB) == GIB
    assert buffer_bytes(384 << 20, 64 * GIB) == 3 * GIB
    assert buffer_bytes(32 << 20, 2 * GIB) == GIB // 2


def test_with_next_to_no_memory_it_is_said_so() -> None:
    with pytest.raises(EngineFailed, match="cannot be measured with 50 MB of memory free"):
        buffer_bytes(0, 50_000_000)


def test_caches_of_the_last_level_are_added_up_over_sockets(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    for core, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3")):
        for index, (level, size) in enumerate(((1, "32K"), (2, "1024K"), (3, "32768K"))):
            folder = f"{CPU}/cpu{core}/cache/index{index}"
            machine.write(f"{folder}/level", str(level))
            machine.write(f"{folder}/size", size)
            machine.write(f"{folder}/shared_cpu_list", shared if level == 3 else str(core))
    assert last_level_cache_bytes(Tree(tmp_path)) == 2 * (32 << 20)


def test_every_reader_goes_over_the_whole_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_kernels, "SECONDS_EACH", 0.0)
    rates = processor_kernels.read_rates(threads=3, size_bytes=4 << 20)
    assert len(rates) >= 3
    assert all(rate > 0 for rate in rates.values())


def test_the_search_ends_at_a_byte_that_should_not_be_there() -> None:
    part = np.ones(1000, np.float32)
    processor_kernels.search(part)
    part.view(np.uint8)[3999] = processor_kernels.ABSENT
    with pytest.raises(AssertionError, match="a byte that it should not"):
        processor_kernels.search(part)


def test_a_kernel_that_dies_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineFailed, match="measuring the machine failed: the process died"):
        ceilings.by_child("edgellm.bench.no_such_module", [], 1)


def test_an_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="known are cpu, gpu"):
        measure_ceilings(device="tpu")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, str]]:
    """What was measured; the work folder is empty, and the machine quiet."""
    calls: list[tuple[int, str]] = []

    def fresh(threads: int, device: str) -> tuple[Ceilings, bool]:
        calls.append((threads, device))
        return FOUND, device != "noisy"

    monkeypatch.setattr(ceilings, "fresh", fresh)
    monkeypatch.setenv("EDGELLM_WORK", str(tmp_path))
    return calls


def test_what_is_kept_is_not_measured_again(measured: list[tuple[int, str]]) -> None:
    assert measure_ceilings(cached=True) == measure_ceilings(cached=True) == FOUND
    measure_ceilings(threads=1, cached=True)
    assert measured == [(0, "cpu"), (1, "cpu")]


def test_nothing_is_kept_unless_asked(measured: list[tuple[int, str]], tmp_path: Path) -> None:
    measure_ceilings()
    assert list(tmp_path.iterdir()) == []


def test_what_was_measured_while_others_worked_is_given_and_not_kept(
    measured: list[tuple[int, str]], tmp_path: Path
) -> None:  # fmt: skip
    assert measure_ceilings(device="noisy", cached=True) == FOUND
    assert list(tmp_path.iterdir()) == []
    measure_ceilings(device="noisy", cached=True)
    assert len(measured) == 2


class Function:
    """A function of a C library that notes its calls and succeeds."""

    def __init__(self, name: str, calls: list[str], free: int) -> None:
        self.name, self.calls, self.free = name, calls, free

    def __call__(self, *arguments: Any) -> int:
        self.calls.append(self.name)
        match self.name:
            case "cudaMemGetInfo":
                arguments[0]._obj.value = self.free
            case "cudaMalloc":
                assert arguments[1] > 0
                arguments[0]._obj.value = 0x7F00_0000_0000
            case "cudaEventElapsedTime":
                arguments[0]._obj.value = 8.0  # milliseconds, of a batch
            case "cudaGetDeviceProperties":
                ctypes.memmove(arguments[0], b"Test GPU\0", 9)
        return 0


class FakeLibrary:
    def __init__(self, calls: list[str], free: int = 8 * GIB) -> None:
        self.functions: dict[str, Function] = {}
        self.calls, self.free = calls, free

    def __getattr__(self, name: str) -> Function:
        return self.functions.setdefault(name, Function(name, self.calls, self.free))


def test_a_gpu_s_rates_are_bytes_over_the_time_of_its_own_clock() -> None:
    calls: list[str] = []
    cuda = cuda_kernels.Cuda(FakeLibrary(calls), FakeLibrary(calls), 0)
    found = cuda_kernels.measure(cuda)
    seconds = 8e-3 / cuda_kernels.BATCH
    readers = found["readers"]
    assert isinstance(readers, dict)
    assert readers["cuBLAS's sum"] == pytest.approx(2 * GIB / seconds)
    assert readers["a copy within the GPU"] == pytest.approx(4 * GIB / seconds)  # it reads and writes
    assert found["flops_per_s"] == pytest.approx(2 * 8192**3 / seconds)
    assert found["device"] == "Test GPU"
    assert calls.count("cudaFree") == 2


def test_a_library_s_refusal_is_told_in_its_own_words() -> None:
    library = FakeLibrary([])
    library.functions["cudaSetDevice"] = lambda *_: 100  # type: ignore[assignment]
    library.functions["cudaGetErrorString"] = type("Words", (), {"__call__": lambda *_: b"no CUDA-capable device"})()
    with pytest.raises(cuda_kernels.Refused, match="cudaSetDevice: no CUDA-capable device"):
        cuda_kernels.Cuda(library, FakeLibrary([]), 0)


def test_without_cuda_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_kernels, "places", lambda stem: ["/nowhere/libcudart.so"])
    with pytest.raises(cuda_kernels.Refused, match="libcudart is not found; install CUDA's runtime libraries"):
        cuda_kernels.library("cudart")
