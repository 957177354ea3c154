"""Files of a model's shape with random weights: sizes to the byte, a model that runs, experts that are all used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgellm.bench.engine import random_ids
from edgellm.build import routing
from edgellm.build.recipe_check import check
from edgellm.build.routing import measured_routing
from edgellm.build.synth import Synthetic, synth
from edgellm.cli.main import cli
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.imatrix import collect
from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import Feed, RuntimeOptions
from edgellm.errors import BadRecipe, UsageError
from edgellm.records.recipe import Recipe
from edgellm.store import catalogue
from edgellm.store.atomic import aside_of
from quick_build import one_core
from small_recipes import small_mixture

VOCAB, EXPERTS, USED = 1024, 32, 4


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return small_mixture(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def made(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    return synth(recipe, tmp_path_factory.mktemp("synth") / "made.gguf")


def test_the_size_is_predicted_to_the_byte(recipe: Recipe, made: Synthetic) -> None:
    assert made.size_bytes == check(recipe)[0].file_bytes


def test_fewer_layers_are_the_first_ones(recipe: Recipe, made: Synthetic, tmp_path: Path) -> None:
    names = {t.name for t in read_header(synth(recipe, tmp_path / "two.gguf", layers=2).path).tensors}
    every = {t.name for t in read_header(made.path).tensors}
    assert every - names == {name for name in every if name.startswith("blk.") and int(name.split(".")[1]) >= 2}


def test_active_parameters_are_those_of_the_experts_in_use(made: Synthetic) -> None:
    experts = 8 * 3 * 256 * 480 * EXPERTS
    assert made.parameters - made.active_parameters == experts * (EXPERTS - USED) // EXPERTS


def test_the_recipe_s_types_are_in_the_file_and_stock_has_others(
    recipe: Recipe, made: Synthetic, tmp_path: Path
) -> None:
    stock = synth(recipe, tmp_path / "stock.gguf", stock=True)
    ours, theirs = ({t.name: t.type for t in read_header(s.path).tensors} for s in (made, stock))
    assert ours["blk.0.ffn_down_exps.weight"] == "IQ4_NL"
    assert theirs["blk.0.ffn_down_exps.weight"] in ("Q5_0", "Q8_0")
    assert ours["blk.0.ffn_gate_inp.weight"] == "F32"
    assert stock.size_bytes > made.size_bytes


def test_activations_stay_finite_and_every_layer_uses_its_experts(made: Synthetic) -> None:
    """Constant routers would send every token to the same few experts, and measure a cache."""
    ids = random_ids(VOCAB, 256)
    with one_core():
        counts = {n: e.counts for n, e in collect(made.path, [ids]).entries.items() if n.endswith("down_exps.weight")}
        runtime = open_runtime(made.path, RuntimeOptions(context_tokens=256))
        assert np.isfinite(runtime.step([Feed(0, ids[:64], "all")])[0]).all()
        runtime.close()
    assert len(counts) == 8
    for name, hits in counts.items():
        share = hits[hits > 0] / hits.sum()
        spread = -(share * np.log(share)).sum() / np.log(EXPERTS)
        print(name, f"{spread:.3f} of an even spread")
        assert spread > 0.8, name


def test_a_file_without_a_vocabulary_can_be_benched(made: Synthetic, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(made.path), "--prompt-tokens", "8", "--decode-tokens", "2", "--repeat", "1", "--json"]
    words += ["--no-ceilings"]
    with one_core():
        cli(words, standalone_mode=False)
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [row["test"] for row in rows] == ["pp8", "tg2"]
    assert all(row["characters_per_s"] is None for row in rows)


def test_a_model_of_unknown_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tsuzumi-2-byow has no \\[shape\\]"):
        synth(catalogue.load_recipe("tsuzumi-2-byow"), tmp_path / "x.gguf")


def test_a_type_that_falls_back_is_made_as_stock_only(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ffn_down_exps.* do not fit rows of 480.*--stock"):
        synth(recipe, tmp_path / "x.gguf", type_name="Q4_K_S")


def test_a_folder_is_refused_before_the_work(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; name the file to write"):
        synth(recipe, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_swept(recipe: Recipe, tmp_path: Path) -> None:
    aside_of(tmp_path / "x.gguf").write_bytes(b"half")
    synth(recipe, tmp_path / "x.gguf", layers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["x.gguf"]


def test_layers_of_a_shape_that_counts_none_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    shape = {key: value for key, value in recipe.shape.items() if key != "num_hidden_layers"}
    with pytest.raises(BadRecipe, match="needs num_hidden_layers"):
        synth(recipe.model_copy(update={"shape": shape}), tmp_path / "x.gguf", layers=1)


def test_more_layers_than_the_model_has_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 8 layers, so --layers must be 1 to 8, not 9"):
        synth(recipe, tmp_path / "x.gguf", layers=9)


def test_how_evenly_the_experts_are_used_is_measured_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_mixture(tmp_path)
    with one_core():
        words = ["synth", str(tmp_path / "small.toml"), "--layers", "2", "--out", str(tmp_path / "x.gguf"), "--json"]
        cli(words, standalone_mode=False)
    routing = json.loads(capsys.readouterr().out)["routing"]
    assert (routing["tokens"], routing["experts"], routing["used"]) == (512, EXPERTS, USED)
    assert routing["touched_share"] > 0.9
    assert routing["evenness"] > 0.8
    assert 1 < routing["most_over_mean"] < EXPERTS / USED


def test_a_dense_model_has_no_routing(tmp_path: Path) -> None:
    assert measured_routing(synth(catalogue.load_recipe("tiny-ja"), tmp_path / "x.gguf").path) is None


def test_routing_that_memory_does_not_suffice_for_is_refused_only_where_it_is_asked_for(
    made: Synthetic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "free_memory_bytes", lambda: made.size_bytes)
    assert measured_routing(made.path) is None
    with pytest.raises(UsageError, match="takes more memory than is free"):
        measured_routing(made.path, must=True)
