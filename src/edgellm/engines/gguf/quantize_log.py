"""llama.cpp says which tensor becomes what only in its log; this reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

TENSOR = re.compile(r"^\[\s*\d+/\s*\d+\] (?P<name>\S+)\s+- \[(?P<shape>[\d ,]+)\], type =\s*(?P<source>\S+),")
PLANNED = re.compile(r"-> .* MiB \((?P<target>\S+)\)$")
FALLBACK = re.compile(
    r"^warning: (?P<name>\S+)\s+- ncols\s+\d+ not divisible by\s+\d+ \(required for type\s+(?P<wanted>\S+)\)"
)


@dataclass(frozen=True)
class PlannedTensor:
    name: str
    shape: tuple[int, ...]  # row width first, four numbers
    source: str
    target: str
    wanted: str  # before the width was looked at; `target` unless the tensor fell back

    @property
    def weights(self) -> int:
        return prod(self.shape)


Plan = dict[str, PlannedTensor]  # by tensor name


@dataclass
class PlanReader:
    """Give it the lines of a dry run."""

    tensors: Plan = field(default_factory=dict)
    _wanted: dict[str, str] = field(default_factory=dict)

    def __call__(self, line: str) -> None:
        if match := FALLBACK.match(line):
            self._wanted[match["name"]] = match["wanted"].upper()
        elif match := TENSOR.match(line):
            name, source = match["name"], match["source"].upper()
            planned = PLANNED.search(line)
            target = planned["target"].upper() if planned else source
            shape = tuple(int(n) for n in match["shape"].split(","))
            self.tensors[name] = PlannedTensor(name, shape, source, target, self._wanted.get(name, target))


@dataclass
class ProgressReader:
    """Give it the lines of a real run; calls `report(weights done, weights in all)` after each tensor."""

    total: int
    report: Callable[[int, int], None]
    _done: int = 0

    def __call__(self, line: str) -> None:
        if match := TENSOR.match(line):
            self._done += prod(int(n) for n in match["shape"].split(","))
            self.report(self._done, self.total)
