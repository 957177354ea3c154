"""What a machine lacks is told with the command that brings it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.bench import energy
from edgellm.bench.conditions import Watch
from edgellm.build.lacking import of_sandbox, what_is_lacking
from edgellm.records.machine import Engine, Missing
from fake_machine import FakeGpu, FakeMachine, FakeNvml
from sandboxes import needs_sandbox

GGUF = Engine(loads=True, build="llama.cpp", backends=("CPU",), instruction_sets=("AVX2", "FMA", "AVX512"))
ONNX = Engine(loads=True, build="onnxruntime", backends=("CPU",))


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def lacking(
    machine: FakeMachine, *, gguf: Engine = GGUF, onnx: Engine = ONNX, flags: tuple[str, ...] = ("avx2", "fma"),
    gpus: int = 0,
) -> dict[str, Missing]:  # fmt: skip
    nvml = FakeNvml([FakeGpu() for _ in range(gpus)])
    found = what_is_lacking(
        {"instruction_sets": list(flags)}, {"gguf": gguf, "onnx": onnx},
        Watch(machine.root, nvml, cores=[0, 1]), energy.survey(machine.root, nvml),
    )  # fmt: skip
    return {missing.what: missing for missing in found}


def test_a_machine_without_counters_lacks_nothing_but_a_source_of_energy(machine: FakeMachine) -> None:
    found = lacking(machine)
    assert list(found) == ["a source of energy figures"]
    assert "--meter" in found["a source of energy figures"].get_it_with


def test_an_engine_that_does_not_load_is_told_with_its_reason(machine: FakeMachine) -> None:
    found = lacking(machine, onnx=Engine(loads=False, why_not="No module named 'onnxruntime'"))
    missing = found["the engine for ONNX models"]
    assert missing.why == "No module named 'onnxruntime'"
    assert missing.get_it_with == "pip install 'edgellm[onnx]'"


def test_instructions_that_the_build_does_not_use_are_told(machine: FakeMachine) -> None:
    found = lacking(machine, flags=("avx2", "avx512f", "avx512_vnni", "amx_int8"))
    missing = found["llama.cpp built for this processor"]
    assert missing.why == "this build does not use AVX512_VNNI, AMX_INT8"
    assert "--no-binary llama-cpp-python llama-cpp-python==" in missing.get_it_with


def test_a_gpu_that_no_engine_computes_on_is_told(machine: FakeMachine) -> None:
    assert "GGML_CUDA=on" in lacking(machine, gpus=1)["llama.cpp built for the GPU"].get_it_with
    with_cuda = GGUF.model_copy(update={"backends": ("CUDA", "CPU")})
    assert "llama.cpp built for the GPU" not in lacking(machine, gpus=1, gguf=with_cuda)


def test_counters_that_may_not_be_read_are_told_with_the_command(machine: FakeMachine) -> None:
    machine.write("sys/class/powercap/intel-rapl:0/name", "package-0")
    (machine.root / "sys/class/powercap/intel-rapl:0/energy_uj").mkdir()
    missing = lacking(machine)["energy of the processor"]
    assert missing.why == "the counters of package-0 are there but not readable"
    assert missing.get_it_with.startswith("sudo chmod a+r /sys/class/powercap/")


def test_a_governor_that_holds_the_clocks_down_is_told(machine: FakeMachine) -> None:
    machine.core(0, "cpufreq/scaling_governor", "powersave")
    assert lacking(machine)["full clocks"].why == "1 of 2 cores: governor powersave"


def test_a_sandbox_that_is_not_there_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (missing,) = of_sandbox()
    assert missing.get_it_with == "apt install bubblewrap"


@needs_sandbox
def test_a_sandbox_that_works_is_not_missing() -> None:
    assert of_sandbox() == []
