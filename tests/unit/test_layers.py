"""The layers of ARCHITECTURE.md hold in the imports of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgellm

PACKAGE = Path(edgellm.__file__).parent
# From the top; an import must point to a row further down. Names in one row never import each other.
ROWS = [
    {"cli"},
    {"build"},
    {"serve", "bench", "evals", "report", "stages", "lab"},
    {"inference", "measures"},
    {"engines"},
    {"language"},
    {"families"},
    {"store"},
    {"records"},
    {"errors"},
]
RANK = {name: i for i, row in enumerate(ROWS) for name in row}
ENGINE_LIBRARIES = {"llama_cpp", "onnxruntime", "optimum", "torch", "transformers", "onnx"}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem == "errors")


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{path}: relative imports hide the layer; write the whole name")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    own = layer_of(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] != "edgellm" or len(parts) == 1 or parts[1] not in RANK or parts[1] == own:
            continue
        assert RANK[parts[1]] > RANK[own], f"{own} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_engines_import_engine_libraries(path: Path) -> None:
    if layer_of(path) != "engines":
        assert not {n.split(".")[0] for n in imported_names(path)} & ENGINE_LIBRARIES


@pytest.mark.parametrize("words", [["--help"], ["quantize", "--help"], ["serve", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    heavy = ["numpy", "llama_cpp", "pydantic", "torch", "onnxruntime", "tokenizers", "rich"]
    code = (
        "import sys\nfrom edgellm.cli.main import cli\n"
        f"try:\n    cli({words!r})\nexcept SystemExit as e:\n    assert e.code == 0\n"
        f"loaded = [n for n in {heavy!r} if n in sys.modules]\nassert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_verb_of_the_help_can_be_imported() -> None:
    from edgellm.cli.main import VERBS, cli

    for verb in VERBS:
        command = cli.get_command(None, verb)  # type: ignore[arg-type]
        assert command is not None
        assert command.name == verb
