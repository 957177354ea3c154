"""What a result says of the device that computed, and what is done where its ceilings cannot be measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from edgellm.bench import ceilings
from edgellm.bench.engine import EngineLoad
from edgellm.bench.nvidia import Gpu
from edgellm.build.benching import Besides, ceilings_of, device_of, settings_of, sustained_case, used_gpu_bytes
from edgellm.engines.protocol import RuntimeInfo, RuntimeOptions
from edgellm.errors import EngineFailed
from edgellm.records.bench import Ceilings
from fake_runtime import FakeRuntime

INFO = FakeRuntime().info
FOUND = Ceilings(memory_bandwidth_bytes_per_s=1e9, flops_per_s=1e12, device="cpu", how="by hand")


@dataclass(frozen=True)
class NamedGpu(Gpu):
    """A GPU as far as a result needs it."""

    nvml: Any = None
    handle: Any = None
    used: int | None = 7

    @property
    def name(self) -> str:
        return "GPU X"

    def ask(self, function: str, *arguments: Any) -> Any:
        return None if self.used is None else SimpleNamespace(used=self.used)


def on_gpu(share: float) -> RuntimeInfo:
    return replace(INFO, gpu_share=share)


@pytest.mark.parametrize(
    ("share", "cpu_moe", "name"),
    [(0.0, True, "cpu"), (1.0, False, "GPU X"), (0.5, False, "GPU X and cpu"), (1.0, True, "GPU X and cpu")],
)
def test_a_device_is_named_by_what_computes(share: float, cpu_moe: bool, name: str) -> None:
    assert device_of(on_gpu(share), RuntimeOptions(cpu_moe=cpu_moe), [NamedGpu()]) == name


@pytest.mark.parametrize(("share", "asked"), [(0.0, "cpu"), (1.0, "gpu")])
def test_ceilings_are_those_of_what_computes(share: float, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(ceilings, "measure_ceilings", lambda threads, device: seen.append((threads, device)) or FOUND)
    assert ceilings_of(on_gpu(share), RuntimeOptions(threads=3), None) == (FOUND, None)
    assert seen == [(3, asked)]


def test_two_devices_have_no_ceiling_in_common() -> None:
    found, why = ceilings_of(on_gpu(0.5), RuntimeOptions(), None)
    assert found is None
    assert why is not None
    assert "two devices" in why


def test_what_was_timed_is_kept_where_ceilings_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(threads: int, device: str) -> Ceilings:
        raise EngineFailed("there is no cuBLAS here")

    monkeypatch.setattr(ceilings, "measure_ceilings", refuse)
    assert ceilings_of(on_gpu(1.0), RuntimeOptions(), None) == (None, "there is no cuBLAS here")


def test_memory_of_gpus_is_known_only_if_each_of_them_tells() -> None:
    assert used_gpu_bytes([NamedGpu(used=7), NamedGpu(used=5)]) == 12
    assert used_gpu_bytes([NamedGpu(used=7), NamedGpu(used=None)]) is None
    assert used_gpu_bytes([]) is None


@pytest.mark.parametrize(
    ("load", "name"), [(EngineLoad((8,), (4, 6), (0, 3)), "tg4"), (EngineLoad((8,), (0,), (3,), (2,)), "pp8@d3x2")]
)
def test_the_first_decode_test_is_sustained_else_the_first_of_a_prompt(load: EngineLoad, name: str) -> None:
    assert sustained_case(load).name == name


def test_settings_are_what_was_asked_for() -> None:
    found = settings_of(EngineLoad((8,), (4,), (0, 3), (1, 2), 7), RuntimeOptions(type_k="q8_0"), Besides(sustain_s=60))
    wanted = {"prompt_tokens": [8], "depth": [0, 3], "parallel": [1, 2], "repeat": 7, "sustain_s": 60, "type_k": "q8_0"}
    assert wanted.items() <= found.items()
