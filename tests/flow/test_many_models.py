"""Several models in one server: loaded when they are asked for, dropped for others, never while they answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import pytest

from edgellm.build.serving import Loader, adapters_by_model, offers
from edgellm.engines import memory_bytes, open_runtime
from edgellm.engines.gguf.cache_size import cache_bytes
from edgellm.engines.gguf.convert import convert
from edgellm.engines.gguf.header import read_header
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput, UsageError
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import load_tokenizer
from edgellm.serve.service import Service
from edgellm.serve.shelf import Offer
from live_server import eventually, live_service
from tiny_checkpoints import TINY_JA, random_llama
from tiny_gguf import dense_gguf

GB = 10**9


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    convert(random_llama(folder / "checkpoint"), folder / "random.gguf", "F16")
    return folder / "random.gguf"


class Models:
    """A server that offers models of 1 GB each, by their word, and what it did with them."""

    def __init__(self, artifact: Path, *names: str, room_gb: int | None = None, max_waiting: int = 64) -> None:
        self._artifact = artifact
        self.loads: list[str] = []
        self.closed: list[str] = []
        self.gate = threading.Event()  # loading the model "slow" waits for it
        self.fault: Exception | None = None  # which loading "faulty" meets
        offers = [Offer(name, self._opener(name), memory_bytes=GB) for name in names]
        room = None if room_gb is None else room_gb * GB
        self.service = Service(offers, memory_bytes=room, max_waiting=max_waiting)

    def _opener(self, name: str) -> Callable[[object], LocalChat]:
        def load(_: object) -> LocalChat:
            self.loads.append(name)
            if name == "slow":
                assert self.gate.wait(30)
            if name == "faulty" and self.fault is not None:
                raise self.fault
            runtime = open_runtime("gguf", self._artifact, RuntimeOptions(256, 2, 1))
            models = self

            class Chat(LocalChat):
                def close(self, patience_s: float | None = None) -> bool:
                    models.closed.append(name)
                    super().close()
                    runtime.close()
                    return True

            return Chat(Scheduler(runtime), load_tokenizer(TINY_JA), ChatTemplate.load(TINY_JA))

        return load

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        with live_service(self.service) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            yield http


def ask(http: httpx.Client, model: str, **more: object) -> httpx.Response:
    body = {"model": model, "prompt": "はい", "max_tokens": 3, "temperature": 0, "ignore_eos": True} | more
    return http.post("/v1/completions", json=body)


def loaded(http: httpx.Client) -> dict[str, bool]:
    return {model["id"]: model["loaded"] for model in http.get("/v1/models").json()["data"]}


def test_a_model_is_loaded_when_it_is_first_asked_for(artifact: Path) -> None:
    models = Models(artifact, "a", "b")
    with models.served() as http:
        assert loaded(http) == {"a": True, "b": False}
        assert ask(http, "b").json()["model"] == "b"
        assert ask(http, "b").status_code == 200
        assert loaded(http) == {"a": True, "b": True}
    assert models.loads == ["a", "b"]
    assert sorted(models.closed) == ["a", "b"]


def test_the_least_recently_used_makes_room(artifact: Path) -> None:
    models = Models(artifact, "a", "b", "c", room_gb=2)
    with models.served() as http:
        for name in ("b", "a", "c", "b"):
            assert ask(http, name).status_code == 200
        assert models.closed == ["b", "a"]
        assert loaded(http) == {"a": False, "b": True, "c": True}
        assert http.get("/health").status_code == 200


def test_a_model_that_answers_is_not_dropped(artifact: Path) -> None:
    models = Models(artifact, "a", "b", room_gb=1)
    with models.served() as http, ThreadPoolExecutor(1) as pool:
        with http.stream("POST", "/v1/completions", json={
            "model": "a", "prompt": "はい", "max_tokens": 200, "temperature": 0, "ignore_eos": True, "stream": True,
        }) as stream:  # fmt: skip
            events = stream.iter_lines()
            next(events)
            other = pool.submit(ask, http, "b")
            rest = [line.removeprefix("data: ") for line in events if line]
        assert rest[-1] == "[DONE]"
        assert json.loads(rest[-2])["choices"][0]["finish_reason"] == "length"
        assert other.result().json()["model"] == "b"
    assert models.closed == ["a", "b"]


def test_requests_wait_for_a_model_that_loads_and_too_many_are_refused(artifact: Path) -> None:
    models = Models(artifact, "a", "slow", max_waiting=1)
    with models.served() as http, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, http, "slow") for _ in range(2)]
        slot = models.service._shelf._slots["slow"]
        eventually(lambda: slot.users == 2)
        refused = ask(http, "slow")
        assert ask(http, "a").status_code == 200  # the others do not notice
        models.gate.set()
        assert [reply.result().status_code for reply in waiting] == [200, 200]
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "queue_full"
    assert int(refused.headers["retry-after"]) >= 1
    assert models.loads == ["a", "slow"]


def test_a_model_that_cannot_be_loaded_says_why_and_is_tried_again(artifact: Path) -> None:
    models = Models(artifact, "a", "faulty")
    with models.served() as http:
        models.fault = BadInput("the disk has lost it; bring it back")
        failed = ask(http, "faulty")
        models.fault = None
        assert ask(http, "faulty").status_code == 200
    assert failed.status_code == 500
    assert "the disk has lost it" in failed.json()["error"]["message"]


def test_a_model_larger_than_the_memory_that_is_allowed_is_refused_at_the_start(artifact: Path) -> None:
    with pytest.raises(UsageError, match=r"a needs about .* GB and --memory allows"):
        Models(artifact, "a", room_gb=0)


def test_what_a_model_takes_is_its_file_its_cache_and_its_largest_result(artifact: Path) -> None:
    header = read_header(artifact)
    found = memory_bytes("gguf", artifact, RuntimeOptions(256, 3, type_k="q8_0"))
    cache = cache_bytes(header, 256, 3, "q8_0", "f16")
    assert found == artifact.stat().st_size + cache + 512 * header.vocab_tokens * 4
    assert cache < cache_bytes(header, 256, 3)


def test_adapters_belong_to_the_first_model_or_to_the_one_that_is_named() -> None:
    found = adapters_by_model(["x=1.gguf", "b:y=2.gguf"], ["a", "b"])
    assert found == {"a": {"x": Path("1.gguf")}, "b": {"y": Path("2.gguf")}}
    with pytest.raises(UsageError, match="names no model that is served"):
        adapters_by_model(["c:z=3.gguf"], ["a", "b"])


def loader(**scheduling: int) -> Loader:
    options = RuntimeOptions(256, 2, 1)
    return Loader(options, SchedulerOptions(**scheduling), True, lambda _: nullcontext(), lambda _: None)  # type: ignore[arg-type]


def test_two_models_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    names = [str(dense_gguf(folder / "m.gguf")) for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(UsageError, match="two models are called 'm'"):
        offers(names, [], loader())


def test_prompts_that_are_kept_count_as_memory_of_their_model(tmp_path: Path) -> None:
    path = dense_gguf(tmp_path / "m.gguf")
    sizes = []
    for kept in (0, 1000):
        (offer,) = offers([str(path)], [], loader(cache_bytes=kept)).values()
        sizes.append(offer.memory_bytes)
    assert sizes[1] - sizes[0] == 1000


def test_who_waits_for_a_model_when_the_server_ends_is_told(artifact: Path) -> None:
    models = Models(artifact, "a", "slow")
    with ThreadPoolExecutor(1) as pool:
        with live_service(models.service) as url:
            body = {"model": "slow", "prompt": "はい"}
            waiting = pool.submit(httpx.post, f"{url}/v1/completions", json=body, trust_env=False, timeout=60)
            eventually(lambda: models.loads == ["a", "slow"])
        reply = waiting.result()
    models.gate.set()
    assert reply.status_code == 500
    assert "stopped before slow was loaded" in reply.json()["error"]["message"]
