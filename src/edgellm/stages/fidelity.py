"""Base artifact, artifacts and documents → tallies of fidelity, block by block of documents.

What is kept of a block is a step of its own, named by reference, artifact, documents and window, so a run that was
killed goes on behind the last whole block, and an artifact that is measured already is not loaded again. The models'
rows of log-probabilities are never kept: they are made, compared and dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from edgellm.engines import memory_bytes, open_runtime
from edgellm.engines.memory import free_memory_bytes
from edgellm.engines.protocol import Runtime, RuntimeOptions
from edgellm.measures import fidelity as measures
from edgellm.measures.fidelity import WINDOW_TOKENS, Columns, Document, Floats, Tally
from edgellm.stages import Progress, Report, labelled, versions_of
from edgellm.store import digest
from edgellm.store.work import Made, WorkFolder

STAGE_VERSION = "1"
LABEL = "measure fidelity"
TALLIES = "tallies.npz"
BLOCK_TOKENS = 4096  # about; what is lost to a kill at most
MEMORY_SHARE = 0.8  # of what is free, for models that are loaded together
OPTIONS = RuntimeOptions(context_tokens=WINDOW_TOKENS)


@dataclass(frozen=True)
class Artifact:
    """What an engine loads, and a digest that stands for it."""

    format: str
    path: Path
    digest: str


@dataclass(frozen=True)
class Tallied:
    """The reference's own tally (nats alone), that of each artifact, and the documents that they are of."""

    own: Tally
    artifacts: Mapping[str, Tally]
    documents: Sequence[Document]


def measure_tallies(
    reference: Artifact, artifacts: Mapping[str, Artifact], documents: Sequence[Document], work: WorkFolder,
    progress: Progress | None = None,
) -> Tallied:  # fmt: skip
    """Measure what is not measured yet, and read all of it.

    Artifacts that fit into memory beside the reference are measured in one pass over the documents; for others the
    reference is run again. Raises UsageError for a text without a token to predict, or another vocabulary.
    """
    documents = measures.predictable(documents)
    blocks = list(blocks_of(documents))
    with labelled(progress, LABEL) as on_progress:
        for number, group in enumerate(groups := groups_of(reference, artifacts), start=1):
            measure_group(reference, group, blocks, work, share_of(on_progress, number - 1, len(groups)))
    own, found = Tally(), {name: Tally() for name in artifacts}
    for name, artifact in artifacts.items():
        for block in blocks:
            made = Place(work, reference, artifact, block).finished()
            assert made is not None  # just measured
            nats, columns = read_block(made.folder / TALLIES)
            for each in columns:
                found[name].add(each)
            if name == next(iter(artifacts)):
                own.nats += nats
    return Tallied(own, found, documents)


@dataclass(frozen=True)
class Place:
    """Where the tallies of one artifact on one block of documents stand."""

    work: WorkFolder
    reference: Artifact
    artifact: Artifact
    block: Sequence[Document]

    @cached_property
    def key(self) -> tuple[str, dict[str, str], dict[str, object], dict[str, str]]:
        texts = digest.of_value([list(document.ids) for document in self.block])
        inputs = {"reference": self.reference.digest, "artifact": self.artifact.digest, "documents": texts}
        versions = versions_of("llama-cpp-python") | {"stage": STAGE_VERSION}
        return "fidelity", inputs, {"window_tokens": WINDOW_TOKENS}, versions

    def finished(self) -> Made | None:
        return self.work.finished(*self.key)

    def keep(self, nats: Sequence[Floats], columns: Sequence[Columns]) -> None:
        self.work.step(*self.key, partial(write_block, nats, columns))


def blocks_of(documents: Sequence[Document]) -> Iterator[Sequence[Document]]:
    """Documents in their order, about `BLOCK_TOKENS` together."""
    block: list[Document] = []
    for document in documents:
        block.append(document)
        if sum(len(d.ids) for d in block) >= BLOCK_TOKENS:
            yield block
            block = []
    if block:
        yield block


def groups_of(reference: Artifact, artifacts: Mapping[str, Artifact]) -> list[dict[str, Artifact]]:
    """Artifacts that are loaded together beside the reference; at least one in each group."""
    room = MEMORY_SHARE * free_memory_bytes() - memory_bytes(reference.format, reference.path, OPTIONS)
    groups: list[dict[str, Artifact]] = []
    left = 0.0
    for name, artifact in artifacts.items():
        size = memory_bytes(artifact.format, artifact.path, OPTIONS)
        if not groups or size > left:
            groups.append({})
            left = room
        groups[-1][name] = artifact
        left -= size
    return groups


def measure_group(
    reference: Artifact, group: Mapping[str, Artifact], blocks: Sequence[Sequence[Document]], work: WorkFolder,
    on_progress: Report | None,
) -> None:  # fmt: skip
    missing = [
        {
            name: place
            for name, artifact in group.items()
            if not (place := Place(work, reference, artifact, b)).finished()
        }
        for b in blocks
    ]
    wanted = [name for name in group if any(name in places for places in missing)]
    if not wanted:
        return
    with ExitStack() as opened:
        base, *others = [
            opened.enter_context(closing(open_runtime(a.format, a.path, OPTIONS)))
            for a in (reference, *(group[name] for name in wanted))
        ]
        runtimes = dict(zip(wanted, others, strict=True))
        measures.check_vocabularies(base, runtimes)
        for done, (block, left) in enumerate(zip(blocks, missing, strict=True), start=1):
            measure_block(base, {name: runtimes[name] for name in left}, block, left)
            if on_progress:
                on_progress(done, len(blocks))


def measure_block(
    reference: Runtime, runtimes: Mapping[str, Runtime], block: Sequence[Document], places: Mapping[str, Place]
) -> None:
    if not places:
        return
    found = [measures.measured(reference, runtimes, document, WINDOW_TOKENS) for document in block]
    for name, place in places.items():
        place.keep([nats for nats, _ in found], [columns[name] for _, columns in found])


def share_of(on_progress: Report | None, before: int, groups: int) -> Report | None:
    """Progress of one group as a part of all."""
    return (lambda done, of: on_progress(before * of + done, groups * of)) if on_progress else None


def write_block(nats: Sequence[Floats], columns: Sequence[Columns], folder: Path) -> None:
    np.savez(
        folder / TALLIES, lengths=np.array([len(n) for n in nats]), reference_nats=np.concatenate(nats),
        kld=np.concatenate([c.kld for c in columns]), same_top=np.concatenate([c.same_top for c in columns]),
        nats=np.concatenate([c.nats for c in columns]),
    )  # fmt: skip


def read_block(path: Path) -> tuple[list[Floats], list[Columns]]:
    """The reference's nats and the artifact's columns, document by document."""
    with np.load(path) as arrays:
        ends = np.cumsum(arrays["lengths"])[:-1]
        own, kld, same_top, nats = (
            np.split(arrays[name], ends) for name in ("reference_nats", "kld", "same_top", "nats")
        )
    return own, [Columns(*each) for each in zip(kld, same_top, nats, strict=True)]
