"""Where an option's value comes from: command line, environment, edgellm.toml, the user's configuration, default."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def repeats(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A bench so short that only its row names matter: they tell which options held."""
    command = [sys.executable, "-m", "edgellm.cli.main", "bench", "tiny-ja", "--repeat", "1", "--json"]
    command += ["--no-ceilings", *words]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def rows_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [row["test"] for row in json.loads(done.stdout)["results"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "edgellm").mkdir(parents=True)
    (home / "edgellm" / "edgellm.toml").write_text("[bench]\nprompt-tokens = 3\ndecode-tokens = 4\n")
    (tmp_path / "edgellm.toml").write_text("[bench]\nprompt-tokens = 5\n")
    return tmp_path


def test_the_nearer_place_wins(folder: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(folder / "home")}
    assert rows_of(repeats(folder, **home)) == ["pp5", "tg4"]
    assert rows_of(repeats(folder, **home, EDGELLM_BENCH_PROMPT_TOKENS="6")) == ["pp6", "tg4"]
    assert rows_of(repeats(folder, "--prompt-tokens", "7", **home, EDGELLM_BENCH_PROMPT_TOKENS="6")) == ["pp7", "tg4"]


def test_an_option_is_written_as_on_the_command_line_whatever_its_parameter_is_called(tmp_path: Path) -> None:
    """`--older-than` of `clean` reaches a parameter called `days`."""
    (tmp_path / "edgellm.toml").write_text("[clean]\nolder-than = -1\n")
    command = [sys.executable, "-m", "edgellm.cli.main", "clean"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--older-than" in done.stderr


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[bench]\nprompt-token = 5\n", "did you mean 'prompt_tokens'"),
        ("[bnch]\nrepeat = 5\n", "did you mean 'bench'"),
        ("[bench\n", "no valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "edgellm.toml").write_text(text)
    done = repeats(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "none"))
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
