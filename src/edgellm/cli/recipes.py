from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edgellm.cli.verb import Verb, json_option
from edgellm.errors import BadRecipe, GateFailed, UsageError

if TYPE_CHECKING:
    from edgellm.records.device import Device
    from edgellm.records.recipe import Recipe


@click.command(
    "recipes",
    cls=Verb,
    examples=["edgellm recipes", "edgellm recipes --check", "edgellm recipes --devices", "edgellm recipes --json"],
    json_keys={
        "[].name": "name of the recipe, as TARGET takes it",
        "[].family": "model family",
        "[].source": "where the weights come from: embedded:NAME, hub:OWNER/NAME, or own for weights that you bring",
        "[].licence": "licence of the weights",
        "[].open_weights": "whether anyone may use the weights and pass them on",
        "[].formats": "formats that it can be built in; empty for models that are services",
        "[].targets": "ids of the public claims that it puts to the test",
    },
)
@click.option(
    "--check", "checking", is_flag=True,
    help="Check each against the full model's tensors, and say what it comes to on which machines.",
)  # fmt: skip
@click.option(
    "--devices", "listing_devices", is_flag=True,
    help="List classes of machines instead, which variants are cut for, and named ones, whose speed plan predicts.",
)  # fmt: skip
@json_option
def recipes(checking: bool, listing_devices: bool, as_json: bool) -> None:
    """List the recipes that ship.

    What is not published appears too, with what one has to bring.

    With --devices classes of machines and named machines are listed in their place, with --json as `name`, `title`,
    `kind`, `memory_bytes` and `usable_bytes` of each, and of a named one its bandwidth, its peak, and the `sources` of
    these figures. `--fit` of `edgellm quantize` and `--device` of `edgellm plan` take all of them.

    With --check every rule of every variant is held against the tensors of the full model, as far as its shape is
    known, by llama.cpp's own quantizer and without any weights. Exit code 3 when a recipe does not hold.
    """
    if listing_devices:
        if checking:
            raise UsageError("--check is about recipes and --devices lists machines; give one of them")
        list_devices(as_json)
        return
    from edgellm.store.catalogue import load_recipe, model_recipes

    found = [load_recipe(name) for name in model_recipes()]
    rows, broken = check_all(found) if checking else ({}, [])
    if as_json:
        click.echo(json.dumps([entry(recipe, rows) for recipe in found], ensure_ascii=False))
    else:
        from edgellm.cli.tables import print_checked_recipes, print_recipes

        if checking:
            print_checked_recipes(rows)
        else:
            print_recipes(found)
    if broken:
        raise GateFailed(f"{len(broken)} of {len(found)} recipes do not hold: {'; '.join(broken)}")


def list_devices(as_json: bool) -> None:
    from edgellm.store.catalogue import load_devices

    found = load_devices()
    if as_json:
        click.echo(json.dumps([device_entry(device) for device in found], ensure_ascii=False))
    else:
        from edgellm.cli.tables import print_devices

        print_devices(found)


def device_entry(device: Device) -> dict[str, Any]:
    known: dict[str, Any] = {
        "name": device.name, "title": device.title, "kind": device.kind, "memory_bytes": device.memory_bytes,
        "usable_bytes": device.usable_bytes,
    }  # fmt: skip
    if not device.is_machine:
        return known
    figures = ("processor", "memory_bandwidth_bytes_per_s", "peak_flops_per_s", "tdp_watts", "sources")
    return known | {name: getattr(device, name) for name in figures}


def check_all(found: list[Recipe]) -> tuple[dict[str, Any], list[str]]:
    """What each recipe's variants come to, and the sentences for those that do not hold."""
    from edgellm.build.recipe_check import check

    rows, broken = {}, []
    for recipe in found:
        try:
            rows[recipe.name] = check(recipe)
        except BadRecipe as error:
            broken.append(str(error))
    return rows, broken


def entry(recipe: Recipe, rows: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    source = recipe.source
    known = {
        "name": recipe.name, "title": recipe.title, "family": source.family, "source": source.checkpoint,
        "licence": source.licence, "gated": source.gated or None, "open_weights": source.open_weights,
        "needs": source.needs or None, "formats": recipe.formats, "targets": recipe.targets,
    }  # fmt: skip
    return known | ({"checked": [asdict(row) for row in rows[recipe.name]]} if recipe.name in rows else {})
