"""What makes a run invalid, on machines that are shown as files: each bound trips, and a quiet machine is valid."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgellm.bench.conditions import Watch
from fake_machine import FakeGpu, FakeMachine, FakeNvml

HALF_A_SECOND, TEN_SECONDS = 50, 1000  # ticks
SELDOM_S = 3600.0  # the test takes the samples itself


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def watched(
    machine: FakeMachine, during: Callable[[Watch], object], *, other_before: float = 0.0, nvml: FakeNvml | None = None,
    alone: bool = True, sustained: bool = False,
) -> Watch:  # fmt: skip
    """A run of ten seconds in which this process takes both cores, and `during` happens."""
    watch = Watch(
        machine.root, nvml, cores=[0, 1], every_s=SELDOM_S, alone=alone, sustained=sustained,
        pause=lambda seconds: machine.spend(HALF_A_SECOND, busy=other_before),
    )  # fmt: skip
    watch.before()
    machine.spend(TEN_SECONDS, busy=0.99, own=0.99)
    during(watch)
    watch.after()
    return watch


def samples(watch: Watch, count: int = 6) -> None:
    for _ in range(count):
        watch.sample()


def nothing(watch: Watch) -> None:
    samples(watch)


def test_a_quiet_machine_is_valid_and_its_conditions_are_written_down(machine: FakeMachine) -> None:
    watch = watched(machine, nothing)
    assert watch.reasons == []
    found = json.loads(json.dumps(watch.conditions))
    told = {"governor": "performance", "clock_mhz_before": 3000.0, "clock_mhz_after": 3000.0, "throttle_events": 0}
    assert told.items() <= found.items()
    assert found["temperature_c_highest"] == 50.0
    assert found["other_load_before"] == 0.0
    assert found["other_load_during"] == 0.0
    assert found["own_load_during"] == pytest.approx(0.99)


def test_a_machine_that_tells_nothing_is_valid_and_every_condition_is_null(tmp_path: Path) -> None:
    watch = Watch(tmp_path, cores=[0, 1], look_s=0, every_s=SELDOM_S)
    watch.before()
    samples(watch)
    watch.after()
    assert watch.reasons == []
    told = {key for key, value in watch.conditions.items() if value not in (None, [], 0)}
    assert told <= {"cores", "seconds"}


def test_other_programs_before_the_run_trip(machine: FakeMachine) -> None:
    watch = watched(machine, nothing, other_before=0.3)
    assert watch.reasons == ["other programs kept the processor busy before the run: 30% of its time (bound 10%)"]


def test_other_programs_during_the_run_trip(machine: FakeMachine) -> None:
    watch = watched(machine, lambda w: machine.spend(TEN_SECONDS, busy=0.9, own=0.4))
    assert watch.reasons == ["other programs kept the processor busy during the run: 25% of its time (bound 10%)"]


def test_other_programs_may_work_during_a_run_that_is_not_alone(machine: FakeMachine) -> None:
    watch = watched(machine, lambda w: machine.spend(TEN_SECONDS, busy=0.9, own=0.1), alone=False)
    assert watch.reasons == []
    assert watch.conditions["other_load_during"] == pytest.approx(0.4)


def test_the_processes_that_this_one_started_are_not_others(machine: FakeMachine) -> None:
    child, grandchild, stranger = (os.getpid() + i for i in (1, 2, 3))

    def during(watch: Watch) -> None:
        machine.process(child, os.getpid(), 500)
        machine.process(grandchild, child, 500)
        machine.process(stranger, 1, 500)
        machine.spend(500, busy=1.0)

    watch = watched(machine, during)
    assert watch.reasons == []
    assert watch.conditions["own_load_during"] == pytest.approx((1980 + 1000) / 3000, abs=1e-3)


def test_time_that_the_host_gave_to_others_trips(machine: FakeMachine) -> None:
    watch = watched(machine, lambda w: machine.spend(TEN_SECONDS, busy=0.8, own=0.8, steal=0.2))
    assert watch.reasons == [
        "the host gave other guests 10% of this virtual machine's processor time (bound 5%)"
    ]  # fmt: skip


def test_the_governor_powersave_trips(machine: FakeMachine) -> None:
    machine.core(1, "cpufreq/scaling_governor", "powersave")
    reasons = watched(machine, nothing).reasons
    assert len(reasons) == 1
    assert reasons[0].startswith("core 1 is held at a low clock by the governor powersave")


@pytest.mark.parametrize(("preference", "reasons"), [("balance_performance", 0), ("power", 1)])
def test_powersave_of_a_processor_that_clocks_itself_trips_only_if_it_is_told_to_save(
    machine: FakeMachine, preference: str, reasons: int
) -> None:
    for core in (0, 1):
        machine.core(core, "cpufreq/scaling_driver", "intel_pstate")
        machine.core(core, "cpufreq/scaling_governor", "powersave")
        machine.core(core, "cpufreq/energy_performance_preference", preference)
    assert len(watched(machine, nothing).reasons) == reasons


def test_a_governor_that_changes_during_the_run_trips(machine: FakeMachine) -> None:
    watch = watched(machine, lambda w: machine.core(1, "cpufreq/scaling_governor", "schedutil"))
    assert watch.reasons == ["the governor of core 1 changed during the run, from performance to schedutil"]


def test_throttle_counts_that_rise_trip(machine: FakeMachine) -> None:
    watch = watched(machine, lambda w: machine.core(0, "thermal_throttle/core_throttle_count", "8"))
    assert watch.conditions["throttle_events"] == 5
    assert watch.reasons == [
        "the processor was slowed down for heat during the run: its throttle counts rose from 14 to 19 (bound 0 more)"
    ]


def test_a_core_that_is_not_ours_may_throttle(machine: FakeMachine) -> None:
    machine.core(2, "thermal_throttle/core_throttle_count", "1")
    watch = watched(machine, lambda w: machine.core(2, "thermal_throttle/core_throttle_count", "9"))
    assert watch.reasons == []


def falling_clock(machine: FakeMachine) -> Callable[[Watch], None]:
    def during(watch: Watch) -> None:
        samples(watch)
        machine.clock(2400)
        samples(watch)

    return during


def test_a_clock_that_falls_during_the_run_trips(machine: FakeMachine) -> None:
    watch = watched(machine, falling_clock(machine))
    assert watch.reasons == [
        "the processor's clock fell during the run from 3000 to 2400 MHz, by 20% (bound 10%)"
    ]  # fmt: skip
    assert watch.conditions["clock_mhz_lowest"] == 2400


def test_a_clock_that_falls_when_the_work_is_over_does_not_trip(machine: FakeMachine) -> None:
    def during(watch: Watch) -> None:
        for clock, busy in ((3000, 1.0), (1200, 0.02)):
            machine.clock(clock)
            for _ in range(6):
                machine.spend(100, busy=busy, own=busy)
                watch.sample()

    assert watched(machine, during).reasons == []


def test_a_temperature_past_its_trip_point_trips(machine: FakeMachine) -> None:
    def during(watch: Watch) -> None:
        machine.heat(101)
        watch.sample()

    assert watched(machine, during).reasons == [
        "the temperature of cpu-thermal reached 101 °C during the run (bound: its trip point of 100 °C)"
    ]


def test_heat_is_told_and_does_not_trip_where_it_is_what_is_measured(machine: FakeMachine) -> None:
    def during(watch: Watch) -> None:
        falling_clock(machine)(watch)
        machine.heat(101)
        machine.core(0, "thermal_throttle/core_throttle_count", "8")
        watch.sample()

    watch = watched(machine, during, sustained=True)
    assert watch.reasons == []
    assert (watch.conditions["throttle_events"], watch.conditions["temperature_c_highest"]) == (5, 101.0)


def test_swapping_trips(machine: FakeMachine) -> None:
    reasons = watched(machine, lambda w: machine.swap(100_000)).reasons
    assert len(reasons) == 1
    assert reasons[0].startswith("the system swapped ")


def test_a_power_mode_that_changes_trips(machine: FakeMachine) -> None:
    machine.write("etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=30W >")
    machine.write("var/lib/nvpmodel/status", "pmode:0000")
    watch = watched(machine, lambda w: machine.write("var/lib/nvpmodel/status", "pmode:0002"))
    assert watch.reasons == [
        "the power mode changed during the run, from nvpmodel 0 (MAXN) to nvpmodel 2 (30W)"
    ]  # fmt: skip


def test_a_board_whose_firmware_holds_it_back_trips(machine: FakeMachine) -> None:
    flags = "sys/devices/platform/soc/soc:firmware/get_throttled"
    machine.write(flags, "10000")  # it has been so before: no matter of this run
    watch = watched(machine, lambda w: machine.write(flags, "50000"))
    assert watch.reasons == ["the board's firmware held the processor back during the run: throttled"]


def test_a_gpu_that_was_slowed_down_trips(machine: FakeMachine) -> None:
    gpu = FakeGpu()

    def during(watch: Watch) -> None:
        watch.sample()
        gpu.reasons = 0x40 | 0x04
        watch.sample()

    watch = watched(machine, during, nvml=FakeNvml([gpu]))
    assert watch.reasons == [
        "Test GPU was slowed down in 1 of 2 samples of the run (hardware thermal slowdown; bound 0)"
    ]  # fmt: skip
    assert watch.conditions["gpus"][0]["at_power_limit"]
    assert watch.conditions["nvidia_driver"] == "999.1"


def test_a_gpu_at_its_power_limit_is_valid(machine: FakeMachine) -> None:
    assert watched(machine, nothing, nvml=FakeNvml([FakeGpu(reasons=0x04)])).reasons == []


def test_a_gpu_that_others_use_before_the_run_trips(machine: FakeMachine) -> None:
    watch = watched(machine, nothing, nvml=FakeNvml([FakeGpu(busy_percent=60)]))
    assert watch.reasons == ["other programs kept Test GPU busy before the run: 60% of the time (bound 10%)"]


def test_a_gpu_that_is_still_busy_with_our_own_model_is_given_time(tmp_path: Path) -> None:
    gpu = FakeGpu(busy_percent=60)

    def pause(seconds: float) -> None:
        gpu.busy_percent -= 20

    watch = Watch(tmp_path, FakeNvml([gpu]), every_s=SELDOM_S, pause=pause)
    watch.before()
    watch.after()
    assert watch.reasons == []
    assert watch.conditions["gpus"][0]["busy_before"] == 0.0


def test_this_machine_can_be_watched() -> None:
    watch = Watch(look_s=0.25, every_s=0.05)
    watch.before()
    while len(watch.samples) < 2:
        sum(range(10_000))
    watch.after()
    assert watch.conditions["cores"]
    assert json.dumps(watch.conditions)
