"""Clocks, governors, temperatures, throttle flags and power modes, as Linux shows them in files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from edgellm.bench.tree import Tree

CPU = "sys/devices/system/cpu"
# Drivers whose `powersave` is the usual governor: the processor chooses its clock, guided by a preference of its own.
SELF_CLOCKING = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
STOPPING_TRIPS = ("passive", "hot", "critical")  # from which the system slows the processor down, or stops
PLAUSIBLE_TRIP_C = (40, 150)  # others are places where a user may write one
CHIP_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
# Of a Raspberry Pi's firmware: too little voltage, clock capped, throttled, soft limit of the temperature.
FIRMWARE_FLAGS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
FIRMWARE_SINCE_START = 16  # the same flags again from this bit on: whether it has ever happened


@dataclass(frozen=True)
class Temperature:
    sensor: str
    celsius: float
    trip_c: float | None  # from which on the system slows down


def governors(tree: Tree, cores: Sequence[int]) -> dict[int, str]:
    """Core → governor; empty where there is no frequency scaling, as in a virtual machine."""
    named = {core: tree.text(f"{CPU}/cpu{core}/cpufreq/scaling_governor") for core in cores}
    return {core: name for core, name in named.items() if name}


def holds_clock_down(tree: Tree, core: int) -> str | None:
    """The setting that keeps a core at a low clock, in words; None where there is none."""
    folder = f"{CPU}/cpu{core}/cpufreq"
    if tree.text(f"{folder}/scaling_governor") != "powersave":
        return None
    if tree.text(f"{folder}/scaling_driver") not in SELF_CLOCKING:
        return "governor powersave"
    preference = tree.text(f"{folder}/energy_performance_preference")
    return "governor powersave with the energy preference power" if preference == "power" else None


def clock_mhz(tree: Tree, cores: Sequence[int]) -> float | None:
    """The mean of the cores' clocks."""
    found = [tree.number(f"{CPU}/cpu{core}/cpufreq/scaling_cur_freq") for core in cores]
    known = [khz / 1000 for khz in found if khz]
    return round(mean(known), 1) if known else None


def throttle_events(tree: Tree, cores: Sequence[int]) -> int | None:
    """How often the cores and their packages were slowed down for heat since the machine started."""
    found = [
        tree.number(f"{CPU}/cpu{core}/thermal_throttle/{what}_throttle_count")
        for core in cores
        for what in ("core", "package")
    ]
    known = [count for count in found if count is not None]
    return sum(known) if known else None


def firmware_flags(tree: Tree) -> list[str]:
    """What holds a Raspberry Pi back at this moment."""
    return [words for bit, words in FIRMWARE_FLAGS.items() if (firmware_bits(tree) or 0) >> bit & 1]


def firmware_flags_ever(tree: Tree) -> list[str]:
    """What has held it back since it was started."""
    bits = (firmware_bits(tree) or 0) >> FIRMWARE_SINCE_START
    return [words for bit, words in FIRMWARE_FLAGS.items() if bits >> bit & 1]


def firmware_bits(tree: Tree) -> int | None:
    for path in tree.find("sys/devices/platform/soc*/*firmware*/get_throttled"):
        text = tree.text(path)
        if text and re.fullmatch(r"(0x)?[0-9a-fA-F]+", text):
            return int(text, 16)
    return None


def temperatures(tree: Tree) -> list[Temperature]:
    """Of the processor and the board, by the system's thermal zones, or else by the processor's own sensors."""
    zones = [found for path in tree.find("sys/class/thermal/thermal_zone*") if (found := zone(tree, path))]
    return zones or [
        found
        for path in tree.find("sys/class/hwmon/hwmon*")
        if tree.text(path / "name") in CHIP_SENSORS
        for found in chip(tree, path)
    ]


def zone(tree: Tree, path: Path) -> Temperature | None:
    millidegrees = tree.number(path / "temp")
    if millidegrees is None:
        return None
    trips = [
        tree.number(kind.with_name(kind.name.replace("_type", "_temp")))
        for kind in tree.find(f"{path.relative_to(tree.root)}/trip_point_*_type")
        if tree.text(kind) in STOPPING_TRIPS
    ]
    return Temperature(tree.text(path / "type") or path.name, millidegrees / 1000, lowest_plausible(trips))


def chip(tree: Tree, path: Path) -> list[Temperature]:
    found = []
    for file in tree.find(f"{path.relative_to(tree.root)}/temp*_input"):
        millidegrees, stem = tree.number(file), file.name.removesuffix("_input")
        if millidegrees is not None:
            label = tree.text(path / f"{stem}_label") or f"{tree.text(path / 'name')} {stem}"
            trip = lowest_plausible([tree.number(path / f"{stem}_crit")])
            found.append(Temperature(label, millidegrees / 1000, trip))
    return found


def lowest_plausible(millidegrees: Sequence[int | None]) -> float | None:
    low, high = PLAUSIBLE_TRIP_C
    return min((m / 1000 for m in millidegrees if m is not None and low <= m / 1000 <= high), default=None)


def power_mode(tree: Tree) -> str | None:
    """The mode of a Jetson (nvpmodel) by name, or a laptop's platform profile."""
    status = tree.text("var/lib/nvpmodel/status")
    if status and (number := re.search(r"pmode:(\d+)", status)):
        mode = int(number[1])
        named = re.search(rf"POWER_MODEL\s+ID=0*{mode}\s+NAME=([^\s>]+)", tree.text("etc/nvpmodel.conf") or "")
        return f"nvpmodel {mode} ({named[1]})" if named else f"nvpmodel {mode}"
    profile = tree.text("sys/firmware/acpi/platform_profile")
    return f"platform profile {profile}" if profile else None


def on_battery(tree: Tree) -> bool | None:
    """Whether the machine runs from a battery; None where it has no mains plug to look at."""
    supplies = tree.find("sys/class/power_supply/*")
    plugs = [tree.number(supply / "online") for supply in supplies if tree.text(supply / "type") == "Mains"]
    known = [state for state in plugs if state is not None]
    return not any(known) if known else None
