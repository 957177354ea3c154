"""Inventories and suites: TOML files to records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgellm.errors import UsageError
from edgellm.records.lab import Inventory, Suite
from edgellm.store.catalogue import read_toml

SUITES = Path(__file__).resolve().parent / "suites"


@dataclass(frozen=True)
class Lab:
    """An inventory, and where its relative paths start."""

    inventory: Inventory
    folder: Path

    def place(self, path: str) -> Path:
        return self.folder / Path(path).expanduser()


def read_inventory(path: Path) -> Lab:
    """Raises UsageError where there is no such file, BadRecipe for one that is wrong, in one sentence."""
    if not path.is_file():
        raise UsageError(f"there is no inventory {path}; write one with a [[devices]] table for each machine")
    return Lab(read_toml(path, Inventory), path.resolve().parent)


def suite_names() -> list[str]:
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def read_suite(name_or_file: str) -> Suite:
    """A shipped suite by its name, or one from a `.toml` file. Raises UsageError, or BadRecipe in one sentence."""
    path = SUITES / f"{name_or_file}.toml" if name_or_file in suite_names() else Path(name_or_file)
    if path.suffix != ".toml" or not path.is_file():
        raise UsageError(f"there is no suite {name_or_file!r}; give a .toml file or one of: {', '.join(suite_names())}")
    return read_toml(path, Suite)
