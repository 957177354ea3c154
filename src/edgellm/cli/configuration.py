"""Defaults from files: `edgellm.toml` in the working folder before the user's own configuration.

Each table is named for a verb and holds its options, `[serve]` with `port = 9000` say. An option on the command
line and then an environment variable (`EDGELLM_SERVE_PORT`) come before both.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgellm.cli.verb import spelling
from edgellm.errors import UsageError

FILE = "edgellm.toml"


def configured(verbs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by verb; raises UsageError for a file that is no TOML or names a verb that there is not."""
    found: dict[str, dict[str, Any]] = {}
    for path in (Path(click.get_app_dir("edgellm")) / FILE, Path(FILE)):
        if not path.is_file():
            continue
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is no valid TOML: {error}; mend that line") from None
        for verb, options in tables.items():
            if verb not in verbs or not isinstance(options, dict):
                raise UsageError(f"{path} holds {verb!r}, {hint(verb, verbs)}")
            found.setdefault(verb, {}).update(spelled(options))
    return found


def spelled(options: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in options.items()}


def by_parameter(command: click.Command, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a verb under click's parameter names; raises UsageError for one that the verb does not have.

    A second pass over its own result changes nothing, since click may look a verb up more than once. The table of a
    group holds one for each of its verbs, `[key.new]` say.
    """
    if isinstance(command, click.Group):
        for word, table in options.items():
            if word not in command.commands or not isinstance(table, dict):
                raise UsageError(f"{FILE} sets {word!r} for {command.name}, {hint(word, list(command.commands))}")
        return {word: by_parameter(command.commands[word], spelled(table)) for word, table in options.items()}
    declared = [p for p in command.params if isinstance(p, click.Option) and p.name]
    names = {p.name: p.name for p in declared} | {spelling(p): p.name for p in declared}
    for name in options:
        if name not in names:
            raise UsageError(f"{FILE} sets {name!r} for {command.name}, {hint(name, [spelling(p) for p in declared])}")
    several = {p.name for p in declared if p.multiple}
    return {
        str(names[name]): [value] if names[name] in several and isinstance(value, str) else value
        for name, value in options.items()
    }


def hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"which is unknown; did you mean {near[0]!r}" if near else f"which is unknown; known are {', '.join(known)}"
