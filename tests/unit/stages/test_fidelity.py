"""Tallies of fidelity are kept block by block: what is measured once is never measured again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgellm.engines import open_runtime
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.quantize import quantize
from edgellm.measures.fidelity import Document, predictable, tallies
from edgellm.measures.fidelity_figures import summary
from edgellm.stages import fidelity as stage
from edgellm.stages.fidelity import OPTIONS, Artifact, Tallied, measure_tallies
from edgellm.store.work import WorkFolder
from quick_build import VOCAB, one_core, quick_checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("models")
    convert(quick_checkpoint(folder / "checkpoint"), folder / "base.gguf", "F32")
    quantize(folder / "base.gguf", folder / "q8.gguf", "Q8_0")
    quantize(folder / "base.gguf", folder / "q4.gguf", "Q4_0", allow_fallback=True)
    return {name: Artifact("gguf", folder / f"{name}.gguf", f"sha256:{name}") for name in ("base", "q8", "q4")}


def documents(count: int = 6) -> list[Document]:
    rng = np.random.default_rng(5)
    return [Document([1, *rng.integers(10, VOCAB, 40).tolist()], 120, 40) for _ in range(count)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two documents a block."""
    monkeypatch.setattr(stage, "BLOCK_TOKENS", 80)
    with one_core():
        yield


def measured(files: dict[str, Artifact], work: Path, *names: str, texts: Sequence[Document] | None = None) -> Tallied:
    return measure_tallies(files["base"], {n: files[n] for n in names}, texts or documents(), WorkFolder(work))


def same(a: Tallied, b: Tallied) -> bool:
    return all(
        summary(a.artifacts[n], a.own, a.documents) == summary(b.artifacts[n], b.own, b.documents) for n in a.artifacts
    )


class Counted:
    """How many documents were measured, of how many artifacts each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> None:
        self.artifacts: list[int] = []
        real = stage.measures.measured

        def counted(reference, artifacts, document, window):  # type: ignore[no-untyped-def]
            if stop_after is not None and len(self.artifacts) == stop_after:
                raise KeyboardInterrupt
            self.artifacts.append(len(artifacts))
            return real(reference, artifacts, document, window)

        monkeypatch.setattr(stage.measures, "measured", counted)


def test_what_is_kept_is_what_one_pass_measures(files: dict[str, Artifact], tmp_path: Path) -> None:
    found = measured(files, tmp_path, "q8", "q4")
    opened = {n: open_runtime("gguf", a.path, OPTIONS) for n, a in files.items()}
    with closing(opened["base"]), closing(opened["q8"]), closing(opened["q4"]):
        own, direct, kept = tallies(opened["base"], {n: opened[n] for n in ("q8", "q4")}, predictable(documents()))
    assert same(found, Tallied(own, direct, kept))
    assert summary(found.artifacts["q8"], found.own, kept).mean_kld.value > 0


def test_a_second_run_measures_nothing(
    files: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured(files, tmp_path, "q8")
    monkeypatch.setattr(stage, "open_runtime", lambda *_: pytest.fail("a model was loaded"))
    assert same(first, measured(files, tmp_path, "q8"))


def test_a_run_that_was_stopped_goes_on_behind_the_last_whole_block(
    files: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        Counted(patched, stop_after=3)
        with pytest.raises(KeyboardInterrupt):
            measured(files, tmp_path, "q8", "q4")
    count = Counted(monkeypatch)
    resumed = measured(files, tmp_path, "q8", "q4")
    assert count.artifacts == [2, 2, 2, 2]  # of six documents the first block's two were kept
    assert same(resumed, measured(files, tmp_path / "anew", "q8", "q4"))


def test_one_more_artifact_is_measured_alone(
    files: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(files, tmp_path, "q8")
    count = Counted(monkeypatch)
    both = measured(files, tmp_path, "q8", "q4")
    assert count.artifacts == [1] * 6
    assert list(both.artifacts) == ["q8", "q4"]


def test_other_documents_or_another_artifact_are_measured_anew(
    files: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(files, tmp_path, "q8")
    count = Counted(monkeypatch)
    measured(files, tmp_path, "q8", texts=[*documents()[:5], Document([1, 20, 30], 6)])
    assert count.artifacts == [1, 1]  # the block that the last document is in
    changed = files | {"q8": Artifact("gguf", files["q8"].path, "sha256:other")}
    measured(changed, tmp_path, "q8")
    assert len(count.artifacts) == 8


def test_artifacts_that_do_not_fit_into_memory_together_give_the_same_figures(
    files: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = measured(files, tmp_path / "a", "q8", "q4")
    monkeypatch.setattr(stage, "free_memory_bytes", lambda: 0)
    count = Counted(monkeypatch)
    assert same(together, measured(files, tmp_path / "b", "q8", "q4"))
    assert count.artifacts == [1] * 12
