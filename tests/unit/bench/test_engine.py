"""What is fed to the engine in a bench, in which order, and what counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from edgellm.bench.energy_sum import EnergySum
from edgellm.bench.engine import Bench, Case, EngineLoad, bench_engine, ids_of_sequences
from edgellm.engines.protocol import Feed, Logits
from edgellm.errors import UsageError
from edgellm.records.bench import EnergyUse
from fake_runtime import FakeRuntime


@dataclass
class Recorder(FakeRuntime):
    """Keeps what each step was fed."""

    steps: list[list[Feed]] = field(default_factory=list)

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        self.steps.append(list(feeds))
        return super().step(feeds)


@dataclass
class Counter:
    """An energy counter that notes when it is read; each stretch takes 5 joules, 2 of them the idle machine's."""

    stretches: int = 0
    running: bool = False

    def start(self) -> None:
        assert not self.running
        self.running = True

    def stop(self) -> tuple[EnergyUse, ...]:
        assert self.running
        self.running = False
        self.stretches += 1
        return (EnergyUse(source="rapl", seconds=1.0, joules=5.0, idle_watts=2.0, joules_above_idle=3.0),)


def test_a_row_is_timed_for_every_depth_count_and_length() -> None:
    load = EngineLoad((4, 8), (2,), (0, 3), (1, 2), repeat=1)
    names = [timed.case.name for timed in bench_engine(Recorder(), None, [], load)]
    assert names == [
        "pp4", "pp8", "tg2", "pp4x2", "pp8x2", "tg2x2",
        "pp4@d3", "pp8@d3", "tg2@d3", "pp4@d3x2", "pp8@d3x2", "tg2@d3x2",
    ]  # fmt: skip


def test_zero_leaves_a_test_out_and_nothing_at_all_is_refused() -> None:
    assert [t.case.name for t in bench_engine(Recorder(), None, [], EngineLoad((0,), (2,)))] == ["tg2"]
    with pytest.raises(UsageError, match="nothing to time"):
        bench_engine(Recorder(), None, [], EngineLoad((0,), (0,)))


def test_the_first_run_is_kept_apart() -> None:
    (timed,) = bench_engine(runtime := Recorder(), None, [], EngineLoad((0,), (3,), repeat=4))
    assert len(timed.seconds) == 4
    assert timed.first_s > 0
    assert len(runtime.steps) == 5 * 3


def test_every_sequence_is_fed_another_text() -> None:
    bench_engine(runtime := Recorder(context_tokens=32), None, [], EngineLoad((16,), (0,), parallel=(4,), repeat=1))
    texts = {tuple(feed.ids) for feed in runtime.steps[0]}
    assert len(texts) == len(runtime.steps[0]) == 4


def test_a_short_text_goes_on_from_its_start_and_sequences_begin_apart() -> None:
    assert ids_of_sequences([1, 2, 3, 4], 2, 6) == [[1, 2, 3, 4, 1, 2], [3, 4, 1, 2, 3, 4]]


def test_a_prompt_is_read_in_the_largest_steps_and_only_its_last_token_has_logits() -> None:
    load = EngineLoad((40,), (0,), parallel=(2,), repeat=1)
    bench_engine(runtime := Recorder(step_tokens=32), None, [], load)
    assert [[(len(f.ids), f.logits) for f in feeds] for feeds in runtime.steps[:3]] == [
        [(16, "none")] * 2, [(16, "none")] * 2, [(8, "last")] * 2,
    ]  # fmt: skip


def test_decoding_takes_one_token_of_each_sequence_a_step() -> None:
    bench_engine(runtime := Recorder(), None, [], EngineLoad((0,), (5,), parallel=(3,), repeat=1))
    assert {tuple(len(f.ids) for f in feeds) for feeds in runtime.steps} == {(1, 1, 1)}


def test_the_depth_is_brought_in_before_and_waited_for() -> None:
    """A GPU would otherwise go on with it while the timed part runs."""
    runtime = Recorder(step_tokens=8)
    Bench(runtime, None, [], load := EngineLoad((0,), (4,), (20,))).run(load.cases[0])
    assert [(len(f.ids), f.logits) for feeds in runtime.steps[:3] for f in feeds] == [
        (8, "none"), (8, "none"), (4, "last"),
    ]  # fmt: skip
    assert runtime.held(0) == 24


@pytest.mark.parametrize(("can_cut", "times_read"), [(True, 1), (False, 3)])
def test_a_depth_is_read_again_only_by_a_model_that_cannot_forget_the_tail(can_cut: bool, times_read: int) -> None:
    runtime = Recorder(can_cut=can_cut)
    bench_engine(runtime, None, [], EngineLoad((0,), (2,), (10,), repeat=2))
    assert sum(len(feed.ids) == 10 for feeds in runtime.steps for feed in feeds) == times_read


def test_sequences_that_a_row_does_not_have_are_empty_while_it_is_timed() -> None:
    runtime = Recorder()
    bench = Bench(runtime, None, [], EngineLoad((4,), (0,), (6,), (4,)))
    bench.run(Case("pp", 4, 6, 4))
    bench.run(Case("pp", 4, 6, 1))
    assert [runtime.held(sequence) for sequence in range(4)] == [10, 0, 0, 0]


def test_nothing_is_left_in_the_cache() -> None:
    bench_engine(runtime := Recorder(), None, [], EngineLoad((4,), (2,), (3,), (2,), repeat=1))
    assert [runtime.held(sequence) for sequence in range(runtime.sequences)] == [0] * 4


def test_energy_is_read_around_all_runs_but_not_while_a_depth_is_brought_in() -> None:
    for depth, stretches in ((0, 1), (5, 3)):
        counter = Counter()
        (timed,) = bench_engine(
            Recorder(), None, [], EngineLoad((0,), (2,), (depth,), repeat=3), energy=EnergySum(counter)
        )
        assert counter.stretches == stretches
        assert [(use.joules, use.joules_above_idle) for use in timed.energy] == [(5.0 * stretches, 3.0 * stretches)]


def test_progress_counts_every_run() -> None:
    seen: list[tuple[int, int]] = []
    bench_engine(Recorder(), None, [], EngineLoad((2,), (2,), repeat=2), lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (EngineLoad((100,), (0,), (0, 60)), "needs 160 tokens of context and the model has 128"),
        (EngineLoad((8,), (0,), parallel=(1, 9)), "--parallel 9 needs that many sequences and the runtime holds 4"),
    ],
)
def test_a_load_without_room_is_refused_before_anything_is_fed(load: EngineLoad, words: str) -> None:
    runtime = Recorder()
    with pytest.raises(UsageError, match=words):
        bench_engine(runtime, None, [], load)
    assert not runtime.steps
