"""What ships with edgellm: embedded models, recipes, calibration and verification texts."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from edgellm.errors import BadInput, BadRecipe, UsageError
from edgellm.records.base import Record
from edgellm.records.claims import Claims
from edgellm.records.device import Device, Published
from edgellm.records.recipe import Recipe

PACKAGE = Path(__file__).resolve().parent.parent
MODELS, RECIPES, TEXTS = PACKAGE / "models", PACKAGE / "recipes", PACKAGE / "texts"
DEVICES = RECIPES / "devices"
CLAIMS = RECIPES / "claims.toml"  # what the recipes' targets name
DEFAULT_RECIPE = "default"  # for a checkpoint or GGUF that has none of its own
DOCUMENT_BREAK = "\f"


def embedded_models() -> dict[str, Path]:
    return {p.name: p for p in sorted(MODELS.iterdir()) if (p / "config.json").exists()}


def recipe_names() -> list[str]:
    return sorted(p.stem for p in RECIPES.glob("*.toml") if p != CLAIMS)


def model_recipes() -> list[str]:
    """The recipes that are for one model each: all but the one for any checkpoint."""
    return [name for name in recipe_names() if name != DEFAULT_RECIPE]


def load_recipe(name_or_file: str) -> Recipe:
    """A shipped recipe by name, or one from a `.toml` file; raises BadRecipe in one sentence."""
    path = Path(name_or_file) if name_or_file.endswith(".toml") else RECIPES / f"{name_or_file}.toml"
    if not path.is_file():
        raise BadRecipe(f"there is no recipe {name_or_file!r}; shipped are {', '.join(recipe_names())}")
    return read_toml(path, Recipe)


def load_claims() -> Claims:
    return read_toml(CLAIMS, Claims)


def device_names() -> list[str]:
    """Classes of machines and named machines."""
    return sorted(p.stem for p in DEVICES.glob("*.toml"))


def load_device(name_or_file: str) -> Device:
    """A class of machines or a machine by its name, or one from a `.toml` file; raises UsageError with the known
    ones, BadRecipe for a file that is none."""
    if name_or_file.endswith(".toml"):
        if not Path(name_or_file).is_file():
            raise UsageError(f"there is no device file {name_or_file}; give the path of one, or a name")
        return read_toml(Path(name_or_file), Device)
    if name_or_file not in device_names():
        near = difflib.get_close_matches(name_or_file, device_names(), n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(device_names())}"
        raise UsageError(f"there is no device {name_or_file!r}; {advice}")
    return read_toml(DEVICES / f"{name_or_file}.toml", Device)


def load_devices() -> list[Device]:
    return [load_device(name) for name in device_names()]


def load_published() -> Published:
    """What the published speeds in the device files are of."""
    return read_toml(DEVICES / "checks" / "published.toml", Published)


R = TypeVar("R", bound=Record)


def read_toml(path: Path, record: type[R]) -> R:
    """The record in a TOML file; raises BadRecipe in one sentence."""
    try:
        return record.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecipe(f"{path} is no valid TOML: {error}; mend that line") from None
    except ValidationError as error:
        raise BadRecipe(f"{path}: {sentence(error, record)}") from None


def sentence(error: ValidationError, record: type[Record] = Recipe) -> str:
    """One thing that is wrong with a record: a misspelt key, with the nearest known one, before what it leaves out."""
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), known_keys(record), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "remove it"
        return f"the key {where!r} is unknown; {hint}"
    example = "the recipes that ship" if record is Recipe else "the documentation"
    return f"{where or 'the file'}: {first['msg'][0].lower()}{first['msg'][1:]}; see {example} for the form"


def known_keys(record: type[Record]) -> list[str]:
    """The keys of a record and of all records in it."""
    keys = list(record.model_fields)
    parts: list[Any] = [field.annotation for field in record.model_fields.values()]
    while parts:
        part = parts.pop()
        if isinstance(part, type) and issubclass(part, Record):
            keys += known_keys(part)
        parts += get_args(part)
    return keys


def read_documents(path: Path) -> list[str]:
    """The documents of a text file, or of all `.txt` files of a folder; a line with a form feed separates two.

    Raises BadInput if a file is missing, empty or not UTF-8.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    found: list[str] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise BadInput(f"there is no text file {file}; give a UTF-8 text file") from None
        except (UnicodeDecodeError, IsADirectoryError):
            raise BadInput(f"{file} is not a UTF-8 text; convert it to UTF-8 first") from None
        found += [d.strip("\n") for d in text.split(DOCUMENT_BREAK) if d.strip()]
    if not found:
        raise BadInput(f"{path} holds no text; give a UTF-8 text with at least one sentence")
    return found
