from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.errors import BadInput, BadRecipe
from edgellm.store import catalogue


@pytest.mark.parametrize("name", catalogue.recipe_names())
def test_every_shipped_recipe_loads(name: str) -> None:
    assert catalogue.load_recipe(name).name == name


def test_a_misspelt_key_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    text = (catalogue.RECIPES / "tiny-ja.toml").read_text().replace("max_mean_kld", "max_mean_kdl", 1)
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(BadRecipe, match=r"'gates\..*max_mean_kdl' is unknown; did you mean 'max_mean_kld'"):
        catalogue.load_recipe(str(tmp_path / "r.toml"))


def test_broken_toml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("name = [")
    with pytest.raises(BadRecipe, match=r"r\.toml is no valid TOML"):
        catalogue.load_recipe(str(tmp_path / "r.toml"))


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(BadRecipe, match="tiny-ja"):
        catalogue.load_recipe("no-such-recipe")


def test_documents_are_separated_by_form_feeds(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("一つ目\n二行目\n\f\n二つ目\n\f\n\n", encoding="utf-8")
    assert catalogue.read_documents(tmp_path / "t.txt") == ["一つ目\n二行目", "二つ目"]


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("日本語".encode("shift_jis"))
    with pytest.raises(BadInput, match="not a UTF-8 text"):
        catalogue.read_documents(tmp_path / "t.txt")


def test_calibration_and_verification_texts_do_not_overlap() -> None:
    """No sentence, and no run of 20 characters, stands in both."""

    def runs(folder: str) -> set[str]:
        text = "".join(catalogue.read_documents(catalogue.TEXTS / folder)).replace("\n", "")
        return {text[i : i + 20] for i in range(len(text) - 19)}

    assert not runs("calibration") & runs("verification")


def test_the_calibration_text_is_large_and_a_third_english() -> None:
    files = {p.stem: p.stat().st_size for p in (catalogue.TEXTS / "calibration").glob("*.txt")}
    assert sum(files.values()) >= 60_000
    assert 0.28 <= files["english"] / sum(files.values()) <= 0.40
