"""TARGET: what a user points a verb at, and how to open it."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from edgellm.engines import open_runtime
from edgellm.engines.protocol import Runtime, RuntimeOptions
from edgellm.errors import BadInput, UsageError
from edgellm.language.tokenizer_files import tokenizer_file
from edgellm.records.manifest import Manifest
from edgellm.store import catalogue
from edgellm.store.checkpoint import read_json

if TYPE_CHECKING:
    from edgellm.language.chat_template import ChatTemplate
    from edgellm.language.tokenizer import Tokenizer

Kind = Literal["bundle", "gguf", "onnx", "checkpoint", "tokenizer", "recipe"]
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Target:
    """A resolved TARGET. `artifact` is what an engine loads (None for checkpoints, tokenizers and recipes);
    `tokenizer_folder` is None where there is no vocabulary but the artifact's own."""

    name: str
    kind: Kind
    path: Path
    engine: str | None = None
    artifact: Path | None = None
    tokenizer_folder: Path | None = None

    def open_runtime(self, options: RuntimeOptions) -> Runtime:
        if self.engine is None or self.artifact is None:
            raise UsageError(f"{self.path} holds nothing that an engine can load; quantize it first")
        return open_runtime(self.engine, self.artifact, options)

    def tokenizer(self) -> Tokenizer:
        """The exact tokenizer: of the folder, or of the GGUF's own vocabulary."""
        from edgellm.language.tokenizer import load_tokenizer

        if self.tokenizer_folder is not None:
            return load_tokenizer(self.tokenizer_folder)
        from edgellm.engines.gguf.header import read_header
        from edgellm.engines.gguf.tokenizer import tokenizer_of

        assert self.artifact is not None
        return tokenizer_of(read_header(self.artifact))

    def chat_template(self) -> ChatTemplate | None:
        """The chat template of the folder or of the GGUF; None where there is none (a base model)."""
        from edgellm.language.chat_template import ChatTemplate

        if self.tokenizer_folder is not None:
            return ChatTemplate.load(self.tokenizer_folder)
        from edgellm.engines.gguf.header import read_header

        assert self.artifact is not None
        text = read_header(self.artifact).chat_template
        try:
            return ChatTemplate(text) if text else None
        except BadInput as error:
            raise BadInput(f"{self.artifact}: {error}") from error


def resolve(target: str) -> Target:
    """Find out what `target` is; raises UsageError if it is nothing that edgellm knows."""
    embedded = catalogue.embedded_models()
    if target in embedded:
        return Target(target, "checkpoint", embedded[target], tokenizer_folder=embedded[target])
    path = Path(target)
    if path.is_file() and path.suffix == ".gguf":
        return Target(re.sub(r"-00001-of-\d{5}$", "", path.stem), "gguf", path, "gguf", path)
    if (path.is_file() and path.suffix == ".toml") or (not path.exists() and target in catalogue.recipe_names()):
        return Target(path.stem, "recipe", path)
    if path.is_dir():
        return resolve_folder(path)
    if path.exists():
        raise UsageError(f"{path} is no kind of file that edgellm knows; give a .gguf, a recipe .toml or a folder")
    raise UsageError(f"there is no file or folder {target!r}; {advice(target, [*embedded, *catalogue.recipe_names()])}")


def advice(target: str, known: list[str]) -> str:
    """What was probably meant: a known name or a file of that folder; else all that could be."""
    folder, name = Path(target).parent, Path(target).name
    beside = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if near := difflib.get_close_matches(target, known, n=1, cutoff=0.7):
        return f"did you mean {near[0]!r}?"
    if near := difflib.get_close_matches(name, beside, n=1, cutoff=0.7):
        return f"did you mean {str(folder / near[0])!r}?"
    return f"give a bundle, a .gguf, a checkpoint folder or one of: {', '.join(dict.fromkeys(known))}"


def resolve_folder(path: Path) -> Target:
    name = path.resolve().name
    if (path / MANIFEST).is_file():
        manifest = read_manifest(path)
        tokenizer = path / manifest.tokenizer if manifest.tokenizer else None
        return Target(manifest.name, "bundle", path, manifest.format, path / manifest.artifact, tokenizer)
    if (path / "model.onnx").is_file():
        return Target(name, "onnx", path, "onnx", path, path)
    if any(path.glob("*.safetensors*")):
        return Target(name, "checkpoint", path, tokenizer_folder=path)
    if tokenizer_file(path) is not None:
        return Target(name, "tokenizer", path, tokenizer_folder=path)
    raise UsageError(
        f"{path} is neither a bundle, a checkpoint, an ONNX folder nor a folder of tokenizer files; "
        "give the folder that holds manifest.json, config.json, model.onnx or tokenizer.json"
    )


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle folder; raises BadInput if there is none or it cannot be read."""
    path = bundle / MANIFEST
    if not path.is_file():
        raise BadInput(f"{bundle} has no {MANIFEST}, so it is no finished bundle; make it again with quantize")
    document = read_json(path)
    version, own = document.get("schema_version"), Manifest.model_fields["schema_version"].default
    if type(version) is int and version > own:
        raise BadInput(f"{path} has schema version {version} where this edgellm reads up to {own}; update edgellm")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "as a whole"
        raise BadInput(f"{path} is damaged ({where}: {first['msg']}); make the bundle again with quantize") from None
