"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oracles import oracle
from tiny_checkpoints import TINY_JA, random_llama

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """A worker of pytest-xdist keeps to its share of the cores.

    Engines start a thread for every core that they may use, and two processes with two threads each on two cores make
    one another up to a hundred times slower.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None or not hasattr(os, "sched_setaffinity"):  # macOS has none
        return
    cores = sorted(os.sched_getaffinity(0))
    number, count = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.sched_setaffinity(0, cores[number::count] or cores)


@pytest.fixture(scope="session", autouse=True)
def _own_work_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the user's work folder, and none may go out."""
    os.environ["EDGELLM_WORK"] = str(tmp_path_factory.mktemp("work"))
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def tiny_ja() -> Path:
    return TINY_JA


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_llama(tmp_path_factory.mktemp("checkpoint") / "random-llama")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with public-domain text and the LLM-jp-4 tokenizer, which only the developers' machines have."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (Japanese corpus and the LLM-jp-4 tokenizer), which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def oracle_tools() -> Path:
    """A folder with llama.cpp's own tools."""
    return oracle("EDGELLM_ORACLE_TOOLS")


@pytest.fixture(scope="session")
def oracle_convert() -> Path:
    """A Python that has llama.cpp's own conversion script."""
    return oracle("EDGELLM_ORACLE_CONVERT")
