"""Where repositories that were fetched before are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgellm.store.hub import snapshot


@pytest.mark.parametrize(
    ("variable", "below"), [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")]
)
def test_every_variable_may_begin_at_the_home_folder(
    variable: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/kept")
    folder = tmp_path / "kept" / below / "models--maker--model" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    assert snapshot("maker/model", "abc") == folder
