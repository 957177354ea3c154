"""TARGET: what a user points a verb at, and how to open it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgellm.engines import open_runtime
from edgellm.engines.protocol import Runtime, RuntimeOptions
from edgellm.errors import BadInput, UsageError
from edgellm.records.manifest import Manifest
from edgellm.store import catalogue

if TYPE_CHECKING:
    from edgellm.language.chat_template import ChatTemplate
    from edgellm.language.tokenizer import Tokenizer

Kind = Literal["bundle", "gguf", "onnx", "checkpoint", "tokenizer", "recipe"]
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Target:
    """A resolved TARGET. `artifact` is what an engine loads (None for checkpoints, tokenizers and recipes);
    `tokenizer_folder` is None where the vocabulary has to be rebuilt from the artifact."""

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
        """The exact tokenizer: of the folder, or rebuilt from the GGUF's own vocabulary."""
        from edgellm.language.tokenizer import load_tokenizer

        if self.tokenizer_folder is not None:
            return load_tokenizer(self.tokenizer_folder)
        from edgellm.engines.gguf.header import read_header, tokenizer_of

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
        return ChatTemplate(text) if text else None


def resolve(target: str) -> Target:
    """Find out what `target` is; raises UsageError if it is nothing that edgellm knows."""
    embedded = catalogue.embedded_models()
    if target in embedded:
        return Target(target, "checkpoint", embedded[target], tokenizer_folder=embedded[target])
    path = Path(target)
    if path.is_file() and path.suffix == ".gguf":
        return Target(path.stem, "gguf", path, "gguf", path)
    if (path.is_file() and path.suffix == ".toml") or (not path.exists() and target in catalogue.recipe_names()):
        return Target(path.stem, "recipe", path)
    if path.is_dir():
        return resolve_folder(path)
    if path.exists():
        raise UsageError(f"{path} is no kind of file that edgellm knows; give a .gguf, a recipe .toml or a folder")
    known = ", ".join([*embedded, *catalogue.recipe_names()])
    raise UsageError(
        f"there is no file or folder {target!r}; give a bundle, a .gguf, a checkpoint folder or one of: {known}"
    )


def resolve_folder(path: Path) -> Target:
    name = path.resolve().name
    if (path / MANIFEST).is_file():
        manifest = read_manifest(path)
        tokenizer = path / manifest.tokenizer if manifest.tokenizer else None
        return Target(manifest.name, "bundle", path, manifest.format, path / manifest.artifact, tokenizer)
    if (path / "model.onnx").is_file():
        return Target(name, "onnx", path, "onnx", path, path)
    if (path / "config.json").is_file() and any(path.glob("*.safetensors*")):
        return Target(name, "checkpoint", path, tokenizer_folder=path)
    if (path / "tokenizer.json").is_file() or (path / "tokenizer.model").is_file():
        return Target(name, "tokenizer", path, tokenizer_folder=path)
    raise UsageError(
        f"{path} is neither a bundle, a checkpoint, an ONNX folder nor a folder of tokenizer files; "
        "give the folder that holds manifest.json, config.json, model.onnx or tokenizer.json"
    )


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle folder; raises BadInput if there is none or it cannot be read."""
    try:
        return Manifest.model_validate_json((bundle / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"{bundle} has no {MANIFEST}, so it is no finished bundle; make it again with quantize"
        ) from None
    except ValueError:
        raise BadInput(f"{bundle / MANIFEST} is damaged; make the bundle again with quantize") from None
