"""Inventories and suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.errors import BadRecipe, UsageError
from edgellm.lab.inventory import read_inventory, read_suite, suite_names
from edgellm.records.lab import SuiteEntry


def inventory_with(folder: Path, text: str) -> Path:
    path = folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_relative_places_start_at_the_inventory(tmp_path: Path) -> None:
    lab = read_inventory(inventory_with(tmp_path, '[[devices]]\nname = "desk"\nhost = "10.0.0.1"\nkey = "keys/lab"\n'))
    assert lab.place(lab.inventory.devices[0].key) == tmp_path / "keys" / "lab"
    assert lab.place("~/.ssh/known_hosts") == Path.home() / ".ssh" / "known_hosts"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('hots = "10.0.0.1"', "did you mean 'host'?"),
        ('known_host = "x"', "did you mean 'known_hosts'?"),
        ('work = "~/lab"', "work"),
        ("port = 0", "port"),
        ('command = ""', "command"),
        ('environment = { "A;B" = "x" }', "environment"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe) as error:
        read_inventory(inventory_with(tmp_path, f'[[devices]]\nname = "desk"\n{line}\n'))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b"])
def test_a_name_that_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="name"):
        read_inventory(inventory_with(tmp_path, f'[[devices]]\nname = "{name}"\n'))


def test_two_devices_of_one_name_are_refused(tmp_path: Path) -> None:
    text = '[[devices]]\nname = "desk"\n[[devices]]\nname = "desk"\n'
    with pytest.raises(BadRecipe, match="two devices are called 'desk'"):
        read_inventory(inventory_with(tmp_path, text))


def test_an_inventory_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no inventory"):
        read_inventory(tmp_path / "lab.toml")


@pytest.mark.parametrize("name", suite_names())
def test_the_options_of_a_shipped_suite_are_those_of_bench(name: str) -> None:
    from edgellm.cli.bench import bench

    for entry in read_suite(name).entries:
        bench.make_context("bench", ["x", *entry.options])


def test_the_options_of_an_entry_are_written_out() -> None:
    entry = SuiteEntry(name="a", prompt_tokens=16, decode_tokens=(8, 9), depth=32, parallel=(1, 4), repeat=2)
    assert " ".join(entry.options) == ("--prompt-tokens 16 --decode-tokens 8,9 --depth 32 --parallel 1,4 --repeat 2")


def test_a_suite_takes_nothing_but_options_of_bench(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text('name = "s"\n[[entries]]\nname = "a"\ncommand = "rm"\n')
    with pytest.raises(BadRecipe, match=r"'entries\.0\.command' is unknown"):
        read_suite(str(path))


@pytest.mark.parametrize("name", ["engine-shrt", "../suites/engine-short", "missing.toml"])
def test_a_suite_that_is_missing_is_told_with_those_that_ship(name: str) -> None:
    with pytest.raises(UsageError, match="engine-full, engine-short"):
        read_suite(name)
