"""Answers with speculation are those without it, and the counts of drafts are right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
from scipy.stats import chisquare

from edgellm.engines.gguf.opening import open_runtime
from edgellm.engines.protocol import Feed, Logits, Runtime, RuntimeOptions
from edgellm.errors import EngineFailed, UsageError
from edgellm.inference.chat import SamplingOptions, TokenLogprob
from edgellm.inference.draft_model import DraftModel
from edgellm.inference.generation import End, Item, Request
from edgellm.inference.prompt_lookup import PromptLookup
from edgellm.inference.scheduler import Drafter, Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.speculation import Speculation, open_speculation
from edgellm.inference.target import Target
from fake_runtime import FakeRuntime
from scripted_runtime import ScriptedRuntime
from tiny_gguf import VOCAB, dense_gguf

GREEDY = SamplingOptions(temperature=0.0)
PROMPTS = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7, 9], [1, 2]]


class Always:
    """A drafter that always drafts `count` tokens: what the model `would_say`, every `wrong`th of them altered."""

    def __init__(self, runtime: FakeRuntime, count: int = 4, wrong: int = 3) -> None:
        self._would_say = runtime
        self._count = count
        self._wrong = wrong
        self._given = 0

    def begin(self, sequence: int) -> None: ...

    def observe(self, answers: int, drafted: int, seconds: float) -> None: ...

    def propose(self, texts: Mapping[int, Sequence[int]], room: Mapping[int, int]) -> dict[int, list[int]]:
        return {s: self._draft(list(ids), min(room[s], self._count)) for s, ids in texts.items() if room[s]}

    def _draft(self, ids: list[int], count: int) -> list[int]:
        start = len(ids)
        for _ in range(count):
            self._would_say.keep(0, 0)
            self._given += 1
            best = int(np.argmax(self._would_say.step([Feed(0, ids)])[0][-1]))
            ids.append((best + (self._given % self._wrong == 0)) % self._would_say.vocab_tokens)
        return ids[start:]


class Paying:
    """Speculation that is told that drafts cost nothing."""

    def __init__(self, speculation: Speculation) -> None:
        self.begin, self.propose = speculation.begin, speculation.propose
        self._speculation = speculation

    def observe(self, answers: int, drafted: int, seconds: float) -> None:
        self._speculation.observe(answers, drafted, 1.0)


def answers(
    runtime: Runtime, drafter: Drafter | None, requests: Sequence[Request]
) -> tuple[list[list[int | TokenLogprob]], list[End]]:
    texts: list[list[int | TokenLogprob]]
    ends: list[End]
    with Scheduler(runtime, SchedulerOptions(max_waiting=5000), drafter=drafter) as scheduler:
        heard: list[SimpleQueue[Item]] = [SimpleQueue() for _ in requests]
        for request, items in zip(requests, heard, strict=True):
            scheduler.submit(request, items.put)
        texts, ends = [], []
        for items in heard:
            texts.append([])
            while not isinstance(item := items.get(timeout=60), End):
                texts[-1].append(item)
            ends.append(item)
    return texts, ends


def requests(sampling: SamplingOptions = GREEDY, tokens: int = 40, **more) -> list[Request]:
    return [Request(ids, sampling, tokens, **more) for ids in PROMPTS]


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        SamplingOptions(temperature=0.8, top_p=0.95, seed=7),
        SamplingOptions(temperature=1.0, seed=3, repetition_penalty=1.3, frequency_penalty=0.4, logit_bias={5: 2.0}),
    ],
)
@pytest.mark.parametrize("wrong", [1, 3, 1000])
def test_answers_are_the_same_with_any_drafts(sampling: SamplingOptions, wrong: int) -> None:
    plain, _ = answers(FakeRuntime(vocab_tokens=30), None, requests(sampling))
    drafter = Always(FakeRuntime(vocab_tokens=30), wrong=wrong)
    assert answers(FakeRuntime(vocab_tokens=30), drafter, requests(sampling))[0] == plain


def test_log_probabilities_are_those_without_speculation() -> None:
    plain, _ = answers(FakeRuntime(vocab_tokens=30), None, requests(top_logprobs=3))
    drafted, _ = answers(FakeRuntime(vocab_tokens=30), Always(FakeRuntime(vocab_tokens=30)), requests(top_logprobs=3))
    assert drafted == plain


def test_drafts_and_right_ones_are_counted_and_save_steps() -> None:
    runtime = FakeRuntime(vocab_tokens=30)
    with Scheduler(runtime, drafter=Always(FakeRuntime(vocab_tokens=30), count=4, wrong=1000)) as scheduler:
        generation = scheduler.submit(Request([3, 1, 4], GREEDY, 21))
        assert len(list(generation)) == 21
        assert generation.end is not None
        assert generation.end.timing is not None
        # One token comes with the prompt, then four steps of five tokens.
        assert (generation.end.timing.drafted_tokens, generation.end.timing.accepted_tokens) == (16, 16)
        state = scheduler.state()
    assert (state.drafted_tokens, state.accepted_tokens, state.steps) == (16, 16, 5)


def test_an_answer_ends_at_a_stop_token_among_accepted_drafts() -> None:
    (plain, *_), _ = answers(FakeRuntime(vocab_tokens=30), None, requests())
    stop = plain[7]
    drafter = Always(FakeRuntime(vocab_tokens=30), count=5, wrong=1000)
    found, ends = answers(FakeRuntime(vocab_tokens=30), drafter, requests(stop_ids=frozenset({stop})))
    assert found[0] == plain[: plain.index(stop) + 1]
    assert ends[0].reason == "stop"


def test_answers_fill_the_context_to_its_last_token() -> None:
    runtime = FakeRuntime(vocab_tokens=30, context_tokens=32)
    drafter = Always(FakeRuntime(vocab_tokens=30, context_tokens=64), count=8, wrong=5)
    texts, ends = answers(runtime, drafter, [Request([1, 2, 3], GREEDY)])
    assert len(texts[0]) == 29
    assert ends[0].reason == "length"


def test_a_draft_model_that_fails_costs_no_answer() -> None:
    drafting = FakeRuntime(vocab_tokens=30)
    speculation = Speculation(DraftModel(drafting), clock=lambda: 0.0)
    plain, _ = answers(FakeRuntime(vocab_tokens=30), None, requests())
    drafting.failures = 3
    assert answers(FakeRuntime(vocab_tokens=30), speculation, requests())[0] == plain


def test_a_draft_model_equal_to_the_model_has_all_its_drafts_accepted() -> None:
    speculation = Speculation(DraftModel(FakeRuntime(vocab_tokens=30)), clock=lambda: 0.0)
    plain, _ = answers(FakeRuntime(vocab_tokens=30), None, requests())
    texts, ends = answers(FakeRuntime(vocab_tokens=30), speculation, requests())
    assert texts == plain
    timings = [end.timing for end in ends if end.timing]
    assert sum(t.drafted_tokens for t in timings) == sum(t.accepted_tokens for t in timings) > 0


def test_lookup_drafts_what_repeats_itself() -> None:
    cycle = ScriptedRuntime(vocab=50, context=256, step_tokens=64, rule=lambda ids, _: ids[-6])
    texts, ends = answers(cycle, Paying(Speculation(PromptLookup())), [Request([1, 2, 3, 4, 5, 6], GREEDY, 120)])
    assert texts[0] == [1, 2, 3, 4, 5, 6] * 20
    assert ends[0].timing is not None
    assert ends[0].timing.accepted_tokens == ends[0].timing.drafted_tokens > 60


class Weather(ScriptedRuntime):
    """Three tokens, of which the next one depends on the last by fixed chances."""

    CHANCES = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.25, 0.25, 0.5]])

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        rows = super().step(feeds)
        return [
            np.log(self.CHANCES[feed.ids[len(feed.ids) - len(row) :]]) for feed, row in zip(feeds, rows, strict=True)
        ]


class Hopeful:
    """A drafter that says three times what is likely after 0, right or wrong."""

    def begin(self, sequence: int) -> None: ...

    def observe(self, answers: int, drafted: int, seconds: float) -> None: ...

    def propose(self, texts: Mapping[int, Sequence[int]], room: Mapping[int, int]) -> dict[int, list[int]]:
        return {sequence: [0, 0, 1][: room[sequence]] for sequence in texts if room[sequence]}


def test_drawn_answers_have_the_chances_that_the_model_gives() -> None:
    runtime = Weather(vocab=3, context=6000, rule=lambda ids, _: 0)
    request = Request([0, 1], SamplingOptions(temperature=1.0, top_p=1.0, seed=11), 5900)
    (text,), (end,) = answers(runtime, Hopeful(), [request])
    assert end.timing is not None
    assert 1000 < end.timing.accepted_tokens < end.timing.drafted_tokens / 2
    for token, chances in enumerate(Weather.CHANCES):
        followers = [after for before, after in pairwise(text) if before == token]
        counts = np.bincount(followers, minlength=3)
        assert chisquare(counts, chances * counts.sum()).pvalue > 1e-3


# Real files


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("speculation") / "target.gguf", layers=2)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense_gguf(tmp_path_factory.mktemp("speculation") / "draft.gguf", layers=1, seed=1)


@pytest.fixture
def opened(artifact: Path) -> Iterator[Runtime]:
    """With an f32 cache one token of a sequence and several differ by 1e-4 in their logits, not by 1e-2."""
    options = RuntimeOptions(256, sequences=4, threads=1, batch_invariant=True, type_k="f32", type_v="f32")
    runtime = open_runtime(artifact, options)
    yield runtime
    runtime.close()


@pytest.mark.parametrize("kind", ["lookup", "draft"])
def test_greedy_answers_of_an_f16_file_are_the_same_with_speculation(
    opened: Runtime, artifact: Path, other: Path, kind: str
) -> None:
    assert opened.info.batch_invariant
    asked = [Request([*range(20 + 7 * n), n], GREEDY, 60) for n in range(4)]
    plain, _ = answers(opened, None, asked)
    options = SchedulerOptions(speculation=kind, draft=other)  # type: ignore[arg-type]
    target = Target("m", "gguf", artifact, "gguf", artifact)
    speculation = open_speculation(options, target, opened.info, RuntimeOptions(threads=1))
    assert speculation is not None
    texts, ends = answers(opened, Paying(speculation), asked)
    assert texts == plain
    assert sum(end.timing.drafted_tokens for end in ends if end.timing) > 0
    speculation.close()


def test_speculation_that_cannot_be_is_refused_in_a_sentence(opened: Runtime, artifact: Path, tmp_path: Path) -> None:
    target, loading = Target("m", "gguf", artifact, "gguf", artifact), RuntimeOptions(threads=1)

    def refusal(info, **options) -> str:
        with pytest.raises(UsageError) as refused:
            open_speculation(SchedulerOptions(**options), target, info, loading)
        return str(refused.value)

    assert open_speculation(SchedulerOptions(), target, FakeRuntime(can_cut=False).info, loading) is None
    assert "takes back tokens" in refusal(FakeRuntime(can_cut=False).info, speculation="lookup")
    assert "needs its file" in refusal(opened.info, speculation="draft")
    assert "no draft model at" in refusal(opened.info, speculation="draft", draft=tmp_path / "none.gguf")
    larger = dense_gguf_of(tmp_path / "larger.gguf", VOCAB + 1)
    assert "another vocabulary (513 tokens)" in refusal(opened.info, speculation="draft", draft=larger)


def dense_gguf_of(path: Path, vocab_tokens: int) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(vocab_tokens)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_the_failure_of_a_draft_model_is_forgotten_with_the_texts_it_was_for() -> None:
    runtime, reference = FakeRuntime(vocab_tokens=30), FakeRuntime(vocab_tokens=30)
    drafter = DraftModel(runtime)
    drafter.draft({0: [1, 2, 3]}, {0: 2})
    runtime.failures = 1
    with pytest.raises(EngineFailed):
        drafter.draft({0: [1, 2, 3, 4]}, {0: 2})
    found = drafter.draft({0: [1, 2, 3, 4]}, {0: 1})[0]
    assert found == [int(np.argmax(reference.step([Feed(0, [1, 2, 3, 4])])[0][-1]))]
