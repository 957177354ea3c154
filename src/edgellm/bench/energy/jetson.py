"""Power of a Jetson board, by the sensors on its supply rails, added up over time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from edgellm.bench.tree import Tree

EVERY_S = 0.1
# Which rails make the whole, by board; the first set that is there counts. Orin Nano and NX, and Xavier NX: the input.
# The first Nano: the same by its older name. Thor: the input, from a sensor of its own. AGX Orin and Thor without it:
# the supplies of GPU, CPU and everything on 5 V; VDDQ_VDD2_1V8AO, which is fed from the 5 V, is in that already.
# AGX Xavier: every supply.
WHOLES = (
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VIN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)

Rails = Mapping[str, tuple[Path, ...]]  # label → (volts in mV, current in mA), or (power in µW)


def rails_of(tree: Tree) -> Rails:
    """The rails that together are the whole board; empty on other machines."""
    labelled: dict[str, tuple[Path, ...]] = {}
    for chip in tree.find("sys/class/hwmon/hwmon*"):
        name = tree.text(chip / "name")
        if name == "ina238" and (chip / "power1_input").exists():
            labelled["VIN"] = (chip / "power1_input",)
        if name != "ina3221":
            continue
        for number in (1, 2, 3):
            label = tree.text(chip / f"in{number}_label")
            if label and (chip / f"curr{number}_input").exists():
                labelled[label] = (chip / f"in{number}_input", chip / f"curr{number}_input")
    for whole in WHOLES:
        if all(label in labelled for label in whole):
            return {label: labelled[label] for label in whole}
    return {}


def watts(tree: Tree, rails: Rails) -> float | None:
    """All rails together at this moment; None if one of them gives no figure."""
    total = 0.0
    for files in rails.values():
        values = [tree.number(file) for file in files]
        known = [value for value in values if value is not None]
        if len(known) < len(files):
            return None
        total += known[0] / 1e6 if len(known) == 1 else known[0] * known[1] / 1e6
    return total


class JetsonRails:
    """Joules from power that a thread reads ten times a second: between two readings it counts as their mean."""

    name = "jetson"

    def __init__(
        self, tree: Tree, rails: Rails, clock: Callable[[], float], every_s: float = EVERY_S
    ) -> None:  # fmt: skip
        self._tree, self._rails, self._clock, self._every_s = tree, rails, clock, every_s
        self._total = 0.0
        self._last: tuple[float, float] | None = None
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def joules(self) -> float:
        """Since the first call, which starts the thread."""
        if self._thread is None and not self._ended.is_set():
            self._thread = threading.Thread(target=self._keep_reading, name="rails", daemon=True)
            self._thread.start()
        self.read()
        return self._total

    def read(self) -> None:
        with self._lock:
            now, power = self._clock(), watts(self._tree, self._rails)
            if power is None:
                return
            if self._last:
                at, before = self._last
                self._total += (power + before) / 2 * (now - at)
            self._last = (now, power)

    def close(self) -> None:
        self._ended.set()
        if self._thread:
            with suppress(RuntimeError):
                self._thread.join()

    def _keep_reading(self) -> None:
        while not self._ended.wait(self._every_s):
            self.read()
