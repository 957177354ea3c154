"""A scheduler in a process of its own: the same answers, and what becomes of everybody when that process dies."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import psutil
import pytest

from edgellm.engines.gguf.convert import convert
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import BadInput, EngineFailed, EngineRestarting, PromptTooLong, QueueFull, UsageError
from edgellm.inference.chat import SamplingOptions, TokenLogprob
from edgellm.inference.constraint import Constraint
from edgellm.inference.engine import EngineOrder, open_engine
from edgellm.inference.engine_process import EngineProcess, Restarts
from edgellm.inference.generation import Generation, Item, Request
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.target import Target
from live_server import eventually
from tiny_checkpoints import TINY_JA, random_llama

CONTEXT, SEQUENCES, QUEUE = 1024, 2, 3
GREEDY = SamplingOptions(temperature=0)
PROMPT = list(range(100, 140))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = tmp_path_factory.mktemp("engine")
    checkpoint = random_llama(folder / "checkpoint")
    # As sentence-transformers says how to make a vector of a text, so that the model embeds as well.
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (checkpoint / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Pooling"}]))
    convert(checkpoint, folder / "tiny.gguf", "F16")
    return Target("tiny", "gguf", folder / "tiny.gguf", "gguf", folder / "tiny.gguf", TINY_JA)


def order_for(target: Target) -> EngineOrder:
    options = RuntimeOptions(context_tokens=CONTEXT, sequences=SEQUENCES, threads=1)
    return EngineOrder(target, options, SchedulerOptions(max_waiting=QUEUE))


@pytest.fixture(scope="module")
def engine(target: Target) -> Iterator[EngineProcess]:
    engine = EngineProcess(order_for(target))
    yield engine
    assert engine.close(5)


def endless(engine: EngineProcess) -> Generation:
    """A request that runs until the context is full, which takes longer than any test."""
    return engine.submit(Request(PROMPT, GREEDY))


def idle(engine: EngineProcess) -> bool:
    state = engine.state()
    return state.running + state.waiting == 0


def tokens_before_failure(generation: Generation) -> tuple[int, EngineFailed]:
    count = 0
    try:
        for _ in generation:
            count += 1
    except EngineFailed as error:
        return count, error
    raise AssertionError("the request did not fail")


def test_a_request_that_waits_for_its_grammar_holds_up_nobody_and_can_be_cancelled(engine: EngineProcess) -> None:
    names = [f"k{number}" for number in range(5000)]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    slow = Constraint(f"start: %json {json.dumps(schema)}")
    held = engine.submit(Request(PROMPT, GREEDY, constraint=slow))
    assert len(list(engine.submit(Request(PROMPT, GREEDY, 4)))) == 4
    held.cancel()
    list(held)
    assert held.finish_reason == "cancelled"


def test_a_grammar_that_does_not_compile_ends_its_own_request_alone(engine: EngineProcess) -> None:
    with pytest.raises(EngineFailed, match="simpler schema"):
        list(engine.submit(Request(PROMPT, GREEDY, 4, constraint=Constraint("start: nowhere"))))
    assert len(list(engine.submit(Request(PROMPT, GREEDY, 4)))) == 4


def test_answers_are_those_of_a_scheduler_in_this_process(engine: EngineProcess, target: Target) -> None:
    requests = [Request(PROMPT[i:], GREEDY, 20) for i in range(2)]
    apart = [list(generation) for generation in map(engine.submit, requests)]
    with open_engine(order_for(target)) as scheduler:
        assert apart == [list(generation) for generation in map(scheduler.submit, requests)]
        assert scheduler.info == engine.info


def test_log_probabilities_and_timings_arrive(engine: EngineProcess) -> None:
    items: list[Item] = []
    generation = engine.submit(Request(PROMPT, GREEDY, 4, top_logprobs=2), items.append)
    eventually(lambda: generation.end is not None)
    assert [len(item.top) for item in items if isinstance(item, TokenLogprob)] == [2] * 4
    assert generation.end is not None
    assert generation.end.timing is not None


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request([]), UsageError),
        (Request([1] * CONTEXT), PromptTooLong),
        (Request([10**6]), UsageError),
        (Request(PROMPT, adapter="none"), UsageError),
        (Request(PROMPT, SamplingOptions(temperature=-1)), UsageError),
    ],
)
def test_a_request_that_can_never_be_met_is_refused_at_once(
    engine: EngineProcess, request_: Request, error: type[UsageError]
) -> None:
    with pytest.raises(error):
        engine.submit(request_)


def test_more_than_may_wait_are_refused_and_cancelling_makes_room(engine: EngineProcess) -> None:
    running = [endless(engine) for _ in range(SEQUENCES + QUEUE)]
    with pytest.raises(QueueFull):
        endless(engine)
    for generation in running:
        generation.cancel()
    eventually(lambda: idle(engine))
    assert all(generation.finish_reason == "cancelled" for generation in running)
    assert len(list(engine.submit(Request(PROMPT, GREEDY, 3)))) == 3


def test_a_listener_that_raises_cancels_its_request(engine: EngineProcess) -> None:
    def leave(_: Item) -> None:
        raise RuntimeError("nobody reads any more")

    engine.submit(Request(PROMPT, GREEDY), leave)
    eventually(lambda: idle(engine))


def test_embeddings_are_those_of_a_scheduler_in_this_process(engine: EngineProcess, target: Target) -> None:
    prompts: Sequence[Sequence[int]] = [PROMPT, PROMPT[:7]]
    with open_engine(order_for(target)) as scheduler:
        np.testing.assert_array_equal(engine.embed(prompts), scheduler.embed(prompts))
    with pytest.raises(UsageError):
        engine.embed([[]])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_for_the_whole_server_do_not_end_its_engine(engine: EngineProcess, number: int) -> None:
    os.kill(engine.pid, number)
    assert len(list(engine.submit(Request(PROMPT, GREEDY, 3)))) == 3


def test_a_killed_engine_fails_what_runs_and_comes_back(engine: EngineProcess) -> None:
    generations = [endless(engine) for _ in range(SEQUENCES + 1)]
    eventually(lambda: engine.state().running == SEQUENCES)
    before = engine.pid
    os.kill(before, signal.SIGKILL)
    failures = [tokens_before_failure(generation) for generation in generations]
    assert all("killed" in str(error) and isinstance(error, EngineRestarting) for _, error in failures)
    assert failures[-1][0] == 0  # the one that waited
    with pytest.raises(EngineRestarting) as refused:
        endless(engine)
    assert refused.value.retry_after_s >= 1
    eventually(lambda: engine.failure is None)
    assert engine.pid != before
    assert len(list(engine.submit(Request(PROMPT, GREEDY, 3)))) == 3


def test_after_several_quick_deaths_it_is_given_up_with_the_reason(target: Target) -> None:
    said: list[str] = []
    engine = EngineProcess(order_for(target), restarts=Restarts(quick_deaths=2, delay_s=0.01), tell=said.append)
    os.kill(engine.pid, signal.SIGKILL)
    eventually(lambda: isinstance(engine.failure, EngineRestarting))
    eventually(lambda: engine.failure is None)
    os.kill(engine.pid, signal.SIGKILL)
    eventually(lambda: engine.failure is not None and not isinstance(engine.failure, EngineRestarting))
    eventually(lambda: "2 times in a row" in said[-1])
    with pytest.raises(EngineFailed, match="2 times in a row"):
        endless(engine)
    assert engine.close(5)


def test_while_no_process_can_be_started_it_is_tried_again(target: Target) -> None:
    said: list[str] = []
    engine = EngineProcess(order_for(target), restarts=Restarts(look_s=0.01), tell=said.append)
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, allowed[1]))
    try:
        os.kill(engine.pid, signal.SIGKILL)
        eventually(lambda: any("no process can be started" in line for line in said))
        assert isinstance(engine.failure, EngineRestarting)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    eventually(lambda: engine.failure is None)
    assert len(list(engine.submit(Request(PROMPT, GREEDY, 3)))) == 3
    assert engine.close(5)


def test_a_request_that_a_fault_meets_fails_alone(engine: EngineProcess) -> None:
    running = endless(engine)
    before = engine.pid
    with pytest.raises(EngineFailed, match="could not be begun"):
        list(engine.submit(Request(PROMPT, GREEDY, 3, constraint=cast(Constraint, "no constraint at all"))))
    assert running.end is None
    running.cancel()
    assert engine.pid == before


@pytest.fixture
def keeping(target: Target, tmp_path: Path) -> EngineOrder:
    order = order_for(target)
    return replace(order, scheduling=replace(order.scheduling, cache_folder=tmp_path / "cache"))


def test_closing_keeps_what_was_computed_on_disk(keeping: EngineOrder, tmp_path: Path) -> None:
    engine = EngineProcess(keeping)
    list(engine.submit(Request(PROMPT, GREEDY, 3)))
    assert engine.close(0.5)
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".state"]


def test_what_the_process_warns_of_is_passed_on(keeping: EngineOrder, tmp_path: Path) -> None:
    said: list[str] = []
    engine = EngineProcess(keeping, tell=said.append)
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("no folder any more")
    list(engine.submit(Request(PROMPT, GREEDY, 3)))
    assert engine.close(0.5)
    (line,) = said
    assert line.startswith(f"tiny: {tmp_path / 'cache'}")
    assert "cannot be written" in line


def test_closing_ends_what_runs_and_the_process(target: Target) -> None:
    engine = EngineProcess(order_for(target))
    generation = endless(engine)
    process = psutil.Process(engine.pid)
    next(iter(generation))
    assert engine.close(5)
    assert "closed" in str(tokens_before_failure(generation)[1])
    with pytest.raises(EngineFailed, match="closed"):
        endless(engine)
    assert not process.is_running()


def test_what_is_wrong_with_a_file_is_said_as_in_this_process(tmp_path: Path) -> None:
    gone = tmp_path / "gone.gguf"
    children = len(psutil.Process().children())
    with pytest.raises(BadInput, match="there is no file at"):
        EngineProcess(EngineOrder(Target("gone", "gguf", gone, "gguf", gone, TINY_JA)))
    eventually(lambda: len(psutil.Process().children()) <= children)


STARTS_AND_WAITS = """
import pickle, sys, time
from edgellm.inference.engine_process import EngineProcess
engine = EngineProcess(pickle.loads(bytes.fromhex(sys.argv[1])))
print(engine.pid, flush=True)
time.sleep(600)
"""


def test_an_engine_does_not_outlive_a_killed_server(target: Target) -> None:
    import pickle

    words = [sys.executable, "-c", STARTS_AND_WAITS, pickle.dumps(order_for(target)).hex()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        engine = psutil.Process(int(server.stdout.readline()))
        server.kill()
    began = time.monotonic()
    while engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < began + 20
        time.sleep(0.01)
