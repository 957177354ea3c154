"""The weights behind a recipe: shipped, on this disk, in the hub's local cache, or brought by the user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgellm.build.order import recipe_for
from edgellm.errors import NetworkNeeded, UsageError
from edgellm.inference.target import Target, resolve
from edgellm.records.recipe import Recipe
from edgellm.stages import Progress
from edgellm.store import catalogue, hub


def weights_behind(target: Target, progress: Progress | None = None) -> Target:
    """What a recipe names, see `source_of`; any other target itself."""
    return target if target.kind != "recipe" else source_of(target, recipe_for(target), progress=progress)


def source_of(
    target: Target, recipe: Recipe, checkpoint: Path | None = None, progress: Progress | None = None
) -> Target:  # fmt: skip
    """The checkpoint or GGUF behind a target; a recipe names it, unless the user brings it as `checkpoint`.

    Raises NetworkNeeded for a hub repository that is not in the local cache, UsageError for weights that only the
    user can bring, for a makers' GGUF that is quantized, or a `checkpoint` beside a target that has its own.
    """
    if target.kind != "recipe":
        if checkpoint is not None:
            raise UsageError(f"{target.path} has its weights itself; leave out --checkpoint, or give a recipe")
        return target
    if checkpoint is not None:
        return resolve(str(checkpoint))
    scheme, _, place = recipe.source.checkpoint.partition(":")
    if scheme == "embedded" and place in catalogue.embedded_models():
        return resolve(place)
    if scheme == "path" and place:
        return resolve(str(target.path.resolve().parent / place))
    if scheme == "hub" and place.count("/") == 1:
        return in_cache(recipe, place, progress)
    if recipe.source.checkpoint == "own":
        raise UsageError(f"the weights of {recipe.name} are not published; bring {recipe.source.needs}")
    raise UsageError(
        f"the recipe {recipe.name} takes its checkpoint from {recipe.source.checkpoint!r}; write path:FOLDER, "
        f"hub:OWNER/NAME, own or one of {', '.join(f'embedded:{name}' for name in catalogue.embedded_models())}"
    )


def in_cache(recipe: Recipe, repository: str, progress: Progress | None) -> Target:
    """The repository's snapshot in the hub's cache, else the GGUF that the makers publish, if that is there."""
    if found := hub.snapshot(repository, recipe.source.revision):
        return replace(resolve(str(found)), name=repository.partition("/")[2])
    makers = recipe.source.gguf.removeprefix("hub:")
    published = hub.snapshot(makers, recipe.source.gguf_revision) if makers else None
    files = sorted(published.glob("*.gguf")) if published else []
    if not files:
        raise not_here(recipe, repository)
    if len(files) > 1:
        raise UsageError(f"{published} holds {len(files)} GGUF files; give the one you mean with --checkpoint FILE")
    check_unquantized(files[0], repository)
    if progress:
        progress.note(f"{repository} is not in the hub's cache: starting from the makers' {files[0]}")
    return resolve(str(files[0]))


def check_unquantized(gguf: Path, repository: str) -> None:
    """Raise UsageError for a GGUF that is no original; blocks of four bits that engines take over as published are."""
    from edgellm.engines.gguf.header import read_header
    from edgellm.engines.gguf.quantize_plan import PACKED
    from edgellm.engines.gguf.types import TENSOR_TYPES

    for tensor in read_header(gguf).tensors:
        kind = TENSOR_TYPES.get(tensor.type)
        if kind is not None and kind.is_quantized and kind.name != PACKED:
            raise UsageError(
                f"{gguf} is quantized already ({tensor.name} is {tensor.type}) and {repository} is not in the hub's "
                "cache; fetch that, bring 16- or 32-bit weights with --checkpoint, or give this file itself as TARGET"
            )


def not_here(recipe: Recipe, repository: str) -> NetworkNeeded:
    revision = f" at {recipe.source.revision}" if recipe.source.revision else ""
    accept = ""
    if recipe.source.gated:
        accept = (
            f" (accept the {recipe.source.licence} at {recipe.source.gated} first; the hub's tools take the token "
            "from HF_TOKEN or from the file token in HF_HOME)"
        )
    return NetworkNeeded(
        f"the weights of {recipe.name} are the hub repository {repository}{revision}, which is not in "
        f"{hub.cache_folder()}, and nothing is fetched here; fetch it where there is a network{accept} and copy it "
        f"into that cache, or give the folder, as the target or by `edgellm quantize {recipe.name} --checkpoint FOLDER`"
    )
