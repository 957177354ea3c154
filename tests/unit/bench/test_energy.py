"""Energy by counters that are shown as files, by a fake NVML, and by a meter's record."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from edgellm.bench.energy import EnergyWatch, Source, find_sources, joules_above_idle, survey
from edgellm.bench.energy.jetson import JetsonRails, rails_of
from edgellm.bench.energy.meter import Meter
from edgellm.bench.tree import Tree
from edgellm.errors import BadInput
from edgellm.records.bench import EnergyUse
from fake_machine import FakeGpu, FakeMachine, FakeNvml

RAPL = "sys/class/powercap/intel-rapl:"
RANGE_UJ = 262_143_328_850


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def counter(machine: FakeMachine, number: str, name: str, energy_uj: int) -> None:
    machine.write(f"{RAPL}{number}/name", name)
    machine.write(f"{RAPL}{number}/energy_uj", str(energy_uj))
    machine.write(f"{RAPL}{number}/max_energy_range_uj", str(RANGE_UJ))


def only(sources: list[Source]) -> Source:
    assert len(sources) == 1
    return sources[0]


def test_packages_and_memory_are_added_up_and_nothing_is_counted_twice(machine: FakeMachine) -> None:
    names = {"0": "package-0", "0:0": "core", "0:1": "dram", "0:2": "uncore", "1": "package-1", "2": "psys"}
    for number, name in names.items():
        counter(machine, number, name, 1_000_000)
    machine.write("sys/class/powercap/intel-rapl-mmio:0/name", "package-0")
    machine.write("sys/class/powercap/intel-rapl-mmio:0/energy_uj", "1000000")
    source = only(find_sources(machine.root))
    for number, name in names.items():
        counter(machine, number, name, 3_000_000)
    machine.write("sys/class/powercap/intel-rapl-mmio:0/energy_uj", "3000000")
    assert source.name == "rapl"
    assert source.joules() == pytest.approx(2.0 * 3)  # package-0, its memory, package-1


def test_a_counter_that_begins_anew_at_its_range_goes_on(machine: FakeMachine) -> None:
    counter(machine, "0", "package-0", RANGE_UJ - 2_000_000)
    source = only(find_sources(machine.root))
    counter(machine, "0", "package-0", 1_000_000)
    assert source.joules() == pytest.approx(3.0)
    counter(machine, "0", "package-0", 500_000)
    assert source.joules() == pytest.approx(3.0 + (RANGE_UJ - 500_000) / 1e6)


def test_a_counter_that_may_not_be_read_is_told_with_the_command_and_is_no_source(machine: FakeMachine) -> None:
    counter(machine, "0", "package-0", 0)
    # A folder in its place: to read it fails for the administrator too.
    file = machine.root / f"{RAPL}0/energy_uj"
    file.unlink()
    file.mkdir()
    assert find_sources(machine.root) == []
    (found,) = survey(machine.root)
    assert (found.name, found.what, found.readable) == ("rapl", "package-0", False)
    assert found.get_it_with
    assert "chmod" in found.get_it_with


def test_gpus_are_added_up_by_their_own_counters(tmp_path: Path) -> None:
    gpus = [FakeGpu(joules=100.0), FakeGpu(joules=200.0), FakeGpu(joules=None)]
    source = only(find_sources(tmp_path, nvml=FakeNvml(gpus)))
    gpus[0].joules, gpus[1].joules = 130.0, 202.5
    assert source.name == "nvml"
    assert source.joules() == pytest.approx(32.5)
    assert [s.readable for s in survey(tmp_path, FakeNvml(gpus))] == [True, True, False]


def test_only_visible_gpus_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [FakeGpu(), FakeGpu(), FakeGpu(uuid="GPU-bbbb")]
    for named, counted in (("1", [1]), ("GPU-bb,0", [2, 0]), ("", []), ("0,7,1", [0])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        for gpu in gpus:
            gpu.joules = 0.0
        sources = find_sources(tmp_path, nvml=FakeNvml(gpus))
        for i, gpu in enumerate(gpus):
            gpu.joules = 10.0**i
        assert sum(source.joules() for source in sources) == sum(10.0**i for i in counted), named


def test_a_machine_without_any_source_gives_nothing(tmp_path: Path) -> None:
    assert find_sources(tmp_path) == []
    assert find_sources(tmp_path, nvml=FakeNvml([], has_driver=False)) == []
    watch = EnergyWatch([], idle_s=3600)
    watch.measure_idle()
    watch.start()
    assert watch.stop() == ()
    assert joules_above_idle(()) is None


class Steady:
    """A source that takes 10 W, and 100 W while `works`."""

    name = "steady"

    def __init__(self) -> None:
        self.works, self.total, self.at = False, 0.0, time.perf_counter()

    def joules(self) -> float:
        now = time.perf_counter()
        self.total += (100 if self.works else 10) * (now - self.at)
        self.at = now
        return self.total

    def close(self) -> None:
        pass


def test_what_the_idle_machine_takes_is_subtracted_and_both_are_told() -> None:
    source = Steady()
    watch = EnergyWatch([source], idle_s=0.05)
    watch.measure_idle()
    source.joules()
    source.works = True
    watch.start()
    time.sleep(0.1)
    (use,) = watch.stop()
    assert use.idle_watts == pytest.approx(10, rel=0.02)
    assert use.joules == pytest.approx(100 * use.seconds, rel=0.02)
    assert use.joules_above_idle == pytest.approx(90 * use.seconds, rel=0.03)


def test_a_run_that_nobody_measured_the_idle_machine_for_does_so_first() -> None:
    watch = EnergyWatch([Steady()], idle_s=0.05)
    watch.start()
    time.sleep(0.02)
    assert watch.stop()[0].idle_watts == pytest.approx(10, rel=0.05)


def use(source: str, above: float) -> EnergyUse:
    return EnergyUse(source=source, seconds=1, joules=above + 1, idle_watts=1, joules_above_idle=above)


def test_a_meter_counts_alone_and_processors_and_gpus_together() -> None:
    parts = [use("rapl", 3), use("nvml", 40)]
    assert joules_above_idle(parts) == 43
    assert joules_above_idle([*parts, use("meter:plug.csv", 60)]) == 60
    assert joules_above_idle([use("jetson", 9), use("nvml", 4)]) == 9


def rail(machine: FakeMachine, chip: int, number: int, label: str, millivolts: int, milliamperes: int) -> None:
    folder = f"sys/class/hwmon/hwmon{chip}"
    machine.write(f"{folder}/name", "ina3221")
    machine.write(f"{folder}/in{number}_label", label)
    machine.write(f"{folder}/in{number}_input", str(millivolts))
    machine.write(f"{folder}/curr{number}_input", str(milliamperes))


def test_the_input_rail_of_a_board_is_its_whole(machine: FakeMachine) -> None:
    rail(machine, 1, 1, "VDD_IN", 5000, 2000)
    rail(machine, 1, 2, "VDD_CPU_GPU_CV", 5000, 1000)
    assert list(rails_of(Tree(machine.root))) == ["VDD_IN"]


def test_without_an_input_rail_the_supplies_are_the_whole_and_what_hangs_on_one_of_them_is_not_added(
    machine: FakeMachine,
) -> None:
    for number, label in enumerate(("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), 1):
        rail(machine, 1, number, label, 5000, 1000)
    rail(machine, 2, 2, "VDDQ_VDD2_1V8AO", 5000, 1000)
    assert list(rails_of(Tree(machine.root))) == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"]


def test_power_on_rails_becomes_energy_over_time(machine: FakeMachine) -> None:
    rail(machine, 1, 1, "VDD_IN", 5000, 2000)
    tree, now = Tree(machine.root), [0.0]
    source = JetsonRails(tree, rails_of(tree), lambda: now[0], every_s=3600)
    assert source.joules() == 0
    now[0] = 2.0
    rail(machine, 1, 1, "VDD_IN", 5000, 4000)
    assert source.joules() == pytest.approx(2.0 * (10 + 20) / 2)
    source.close()


def test_another_board_s_sensors_are_no_jetson(machine: FakeMachine) -> None:
    rail(machine, 1, 1, "solar", 5000, 2000)
    assert find_sources(machine.root) == []


Form = Callable[[float], str]
FORMS: list[Form] = [str, lambda s: datetime.fromtimestamp(s).astimezone().isoformat(), lambda s: f" {s:.3f}"]
START = 1_770_000_000.0


@pytest.mark.parametrize("form", FORMS)
def test_a_meter_s_watts_are_integrated_between_two_times(tmp_path: Path, form: Form) -> None:
    file = tmp_path / "plug.csv"
    file.write_text("".join(f"{form(START + i)},{20 if i < 5 else 40}\n" for i in range(11)))
    # From 2.5 to 4 at 20 W, one second of rising to 40, then to 7.
    assert Meter(file).between(START + 2.5, START + 7) == pytest.approx(1.5 * 20 + 30 + 2 * 40)


def test_a_meter_s_count_of_joules_is_a_difference(tmp_path: Path) -> None:
    file = tmp_path / "plug.csv"
    rows = "".join(f"x,{START + i},{1000 + 7 * i}\n" for i in range(11))
    file.write_text(f"device,timestamp,joules\n{rows}")
    assert Meter(file).between(START + 1.5, START + 4) == pytest.approx(7 * 2.5)


def test_a_run_waits_for_the_row_that_ends_it_and_leaves_a_half_written_one(tmp_path: Path) -> None:
    file = tmp_path / "plug.csv"
    file.write_text(f"{START},10\n{START + 1},10\n{START + 2},9")

    def write_on(seconds: float) -> None:
        file.write_text(f"{START},10\n{START + 1},10\n{START + 2},99\n")

    assert Meter(file, pause=write_on).between(START, START + 1.5) == pytest.approx(
        10 + (10 + 10 + 89 / 2) / 4
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{s},10\n{s1},10\n", "goes from .* and the run from"),
        ("", "has no rows"),
        ("{s},10\n{s60},10\n", "has no row between"),
        ("{s},10\nabc,10\n", "line 2 .* not a time and a number"),
        ("{s},nan\n", "line 1 .* not a time and a number"),
        ("{s60},10\n{s},10\n", "line 2 .* goes back"),
        ("time,volts\n{s},10\n", "none of watts"),
    ],
)
def test_a_meter_s_file_that_cannot_be_used_says_so_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "plug.csv"
    file.write_text(text.format(s=START, s1=START + 1, s60=START + 60))
    with pytest.raises(BadInput, match=words):
        Meter(file, wait_s=0).between(START, START + 30)


def test_a_meter_s_file_that_is_not_there_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"plug\.csv cannot be read"):
        find_sources(tmp_path, meter=tmp_path / "plug.csv")


def test_a_meter_is_asked_for_the_idle_time_and_the_run(tmp_path: Path) -> None:
    file, start = tmp_path / "plug.csv", time.time()
    watch = EnergyWatch(find_sources(tmp_path, meter=file_with(file, start)), idle_s=0.05)
    watch.start()
    time.sleep(0.05)
    (use,) = watch.stop()
    assert use.source == "meter:plug.csv"
    assert use.idle_watts == pytest.approx(10)
    assert use.joules == pytest.approx(10 * use.seconds, rel=1e-3)


def file_with(file: Path, start: float) -> Path:
    file.write_text("timestamp,watts\n" + "".join(f"{start - 5 + i},10\n" for i in range(300)))
    return file
