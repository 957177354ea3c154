"""`edgellm lab run`: one bundle and one suite, on every device of an inventory."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgellm.build.order import Order
from edgellm.build.pipeline import build
from edgellm.errors import UsageError
from edgellm.inference.target import MANIFEST, Target, resolve
from edgellm.lab.inventory import Lab, read_inventory, read_suite
from edgellm.lab.link import Connect
from edgellm.lab.parcel import parcel_of
from edgellm.lab.running import Job, run_devices
from edgellm.lab.ssh import connector
from edgellm.records.lab import LabRun
from edgellm.stages import Progress
from edgellm.store import catalogue, digest
from edgellm.store.network import need_network
from edgellm.store.work import WorkFolder


@dataclass(frozen=True)
class LabOrder:
    """What is asked of `lab run`."""

    inventory: Path
    target: str  # bundle, .gguf or recipe
    suite: str  # shipped name or .toml file
    results: Path
    on: Literal["ssh", "ray"] = "ssh"
    again: bool = False
    offline: bool = False


def run_lab(order: LabOrder, work: WorkFolder, progress: Progress) -> LabRun:
    """Raises UsageError or BadRecipe for what is asked wrongly and NetworkNeeded before anything is sent; what a device
    does is in its row of the answer."""
    lab, suite = read_inventory(order.inventory), read_suite(order.suite)
    check(lab, order)
    parcel = parcel_of(sendable(order.target, work, progress))
    job = Job(parcel, suite, order.results, order.again)
    with transport(lab, order) as connect:
        return asyncio.run(run_devices(lab.inventory.devices, job, connect, progress))


def check(lab: Lab, order: LabOrder) -> None:
    """Refuse what cannot be reached at all before a bundle is built, which may take hours."""
    if order.on == "ray":
        from edgellm.lab.ray_cluster import check_reachable

        check_reachable(lab, order.offline)
        return
    for device in lab.inventory.devices:
        if not device.host:
            raise UsageError(f"the device {device.name} has no `host`; add it to {order.inventory}, or use --on ray")
        need_network(device.host, f"the device {device.name}", order.offline)
    connector(lab)


def transport(lab: Lab, order: LabOrder) -> AbstractContextManager[Connect]:
    if order.on == "ray":
        from edgellm.lab.ray_cluster import joined

        return joined(lab, order.offline)
    return nullcontext(connector(lab))


def sendable(name: str, work: WorkFolder, progress: Progress) -> Target:
    """A bundle or GGUF as it is; of a recipe, or the embedded model, the bundle, which is made once.

    It stays in the work folder: a second build would be the same but for its date, and so have another digest.
    """
    target = resolve(name)
    if target.kind in ("bundle", "gguf"):
        return target
    if target.kind != "recipe" and name not in catalogue.embedded_models():
        raise UsageError(f"{target.path} is of kind {target.kind}; give a recipe, a bundle or a .gguf")
    recipe = catalogue.load_recipe(str(target.path) if target.kind == "recipe" else name)
    out = work.root / "bundles" / f"{recipe.name}-{digest.of_value(recipe.model_dump(mode='json'))[7:19]}"
    if (out / MANIFEST).is_file():
        progress.note(f"the bundle {out} was made before; remove it to have it built anew")
    else:
        build(Order(name, out), work, progress)
    return resolve(str(out))
