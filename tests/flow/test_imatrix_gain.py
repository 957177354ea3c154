"""That calibration pays: the whole way from text to importance matrix to fewer lost bits, on the embedded model."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from edgellm.build.pipeline import make_artifact, make_base
from edgellm.engines import open_runtime
from edgellm.engines.protocol import Runtime, RuntimeOptions
from edgellm.inference.target import resolve
from edgellm.measures.fidelity import WINDOW_TOKENS, Tally, kld_change, tallies
from edgellm.stages.verify import verification_documents
from edgellm.store.catalogue import TEXTS
from edgellm.store.work import WorkFolder, default_root


@pytest.fixture(scope="module")
def found() -> dict[str, Tally]:
    """Q2_K without a matrix and with one from the model's own text, on every text that ships: neither has seen any."""
    work, options = WorkFolder(default_root()), RuntimeOptions(context_tokens=WINDOW_TOKENS)
    base = make_base(resolve("tiny-ja"), work)
    documents = [
        d for name in ("verification", "calibration") for d in verification_documents(base.tokenizer, TEXTS / name)
    ]
    with ExitStack() as opened:

        def load(path: Path) -> Runtime:
            return opened.enter_context(closing(open_runtime("gguf", path, options)))

        products = {name: make_artifact(base, "gguf", "Q2_K", {}, name, work) for name in ("none", "self")}
        runtimes = {name: load(product.artifact) for name, product in products.items()}
        return tallies(load(base.gguf), runtimes, documents)[1]


def test_the_models_own_text_as_calibration_lowers_the_divergence_of_q2_k(found: dict[str, Tally]) -> None:
    change = kld_change(found["none"], found["self"])
    assert sum(map(len, found["none"].kld)) > 20_000
    assert change.low < change.high < 0


def test_the_change_is_the_difference_of_the_means(found: dict[str, Tally]) -> None:
    tokens = sum(map(len, found["none"].kld))
    means = {name: sum(float(k.sum()) for k in tally.kld) / tokens for name, tally in found.items()}
    assert kld_change(found["none"], found["self"]).value == pytest.approx(means["self"] - means["none"])
    assert kld_change(found["self"], found["self"]).high == 0
