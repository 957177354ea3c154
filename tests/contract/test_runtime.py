"""What every Runtime does, whatever its engine: the specification of `engines/protocol.py`, as tests.

An engine joins by a line in `ENGINES`: given a folder for its files, a function that opens runtimes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgellm.engines import open_runtime
from edgellm.engines.protocol import Feed, Logits, Runtime, RuntimeOptions
from edgellm.errors import BadInput, EngineFailed, UsageError
from fake_runtime import FakeRuntime
from tiny_checkpoints import random_llama
from tiny_recurrent import mamba_gguf, plamo2_gguf

CONTEXT, SEQUENCES = 128, 4
Opener = Callable[[RuntimeOptions], Runtime]


def _fake(can_cut: bool, _folder: Path) -> Opener:
    return lambda o: FakeRuntime(context_tokens=o.context_tokens, sequences=o.sequences, can_cut=can_cut)


def _gguf_llama(folder: Path) -> Opener:
    from edgellm.engines.gguf.convert import convert

    artifact = folder / "model.gguf"
    convert(random_llama(folder / "checkpoint"), artifact, "F32")
    return partial(open_runtime, "gguf", artifact)


def _gguf_made_by(make: Callable[[Path], Path], folder: Path) -> Opener:
    return partial(open_runtime, "gguf", make(folder / "model.gguf"))


def _onnx(folder: Path) -> Opener:
    from edgellm.engines.onnx.export import export

    export(random_llama(folder / "checkpoint"), folder / "onnx")
    return partial(open_runtime, "onnx", folder / "onnx")


ENGINES: dict[str, Callable[[Path], Opener]] = {
    "fake": partial(_fake, True),
    "fake-uncuttable": partial(_fake, False),
    "gguf-llama": _gguf_llama,
    "gguf-mamba": partial(_gguf_made_by, mamba_gguf),  # recurrent: cannot be cut
    "gguf-plamo2": partial(_gguf_made_by, plamo2_gguf),  # hybrid: one sequence a decode
    "onnx": _onnx,
}
MARKS = {"onnx": [pytest.mark.onnx]}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=MARKS.get(name, [])) for name in ENGINES])
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """Opens fresh runtimes of one engine."""
    return ENGINES[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def opened(opener: Opener) -> Iterator[Runtime]:
    runtime = opener(RuntimeOptions(CONTEXT, sequences=SEQUENCES, threads=1))
    yield runtime
    runtime.close()


@pytest.fixture
def runtime(opened: Runtime) -> Runtime:
    """A runtime of the engine with all its sequences empty."""
    for sequence in range(SEQUENCES):
        opened.keep(sequence, 0)
    return opened


@pytest.fixture
def ids(runtime: Runtime) -> list[int]:
    """40 random tokens."""
    return _random_ids(runtime, 40, seed=1)


def _random_ids(runtime: Runtime, count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, runtime.info.vocab_tokens, count).tolist()


def _gap(found: Logits, expected: Logits) -> float:
    """The largest difference, in units of the spread of the logits."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / expected.std())


def _same(found: Logits, expected: Logits) -> bool:
    """Equal but for the rounding of half-precision caches and of kernels for other batch sizes."""
    return _gap(found, expected) < 0.02


def _different(found: Logits, expected: Logits) -> bool:
    return _gap(found, expected) > 0.5


def _alone(runtime: Runtime, ids: list[int], sequence: int = 0) -> Logits:
    """The logits of all `ids` fed to an emptied sequence, in one step."""
    runtime.keep(sequence, 0)
    return runtime.step([Feed(sequence, ids, "all")])[0].copy()


# What comes out


def test_info_says_what_was_asked_for(runtime: Runtime) -> None:
    assert (runtime.info.context_tokens, runtime.info.sequences) == (CONTEXT, SEQUENCES)
    assert runtime.info.step_tokens >= SEQUENCES
    assert runtime.info.architecture
    assert runtime.info.build


@pytest.mark.parametrize(("wanted", "rows"), [("none", 0), ("last", 1), ("all", 40)])
def test_logits_have_a_row_for_each_token_that_wants_one(runtime, ids, wanted, rows) -> None:
    (logits,) = runtime.step([Feed(0, ids, wanted)])
    assert logits.shape == (rows, runtime.info.vocab_tokens)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


def test_last_is_the_last_row_of_all(runtime, ids) -> None:
    everything = _alone(runtime, ids)
    (last,) = runtime.step([Feed(1, ids, "last")])
    assert _same(last, everything[-1:])


def test_rows_of_one_sequence_differ_from_each_other(runtime, ids) -> None:
    logits = _alone(runtime, ids)
    assert _different(logits[1:], logits[:-1])


def test_logits_of_a_step_last_while_sequences_are_cut(runtime, ids) -> None:
    expected = _alone(runtime, ids), _alone(runtime, ids[:5])
    for sequence in (0, 1):
        runtime.keep(sequence, 0)
    rows = runtime.step([Feed(0, ids, "all"), Feed(1, ids[:5], "all"), Feed(2, ids[:1]), Feed(3, ids[:1])])
    for sequence in range(SEQUENCES):
        runtime.keep(sequence, 0)
    assert _same(rows[0], expected[0])
    assert _same(rows[1], expected[1])
    assert _same(rows[2], expected[1][:1])
    assert _same(rows[3], expected[1][:1])


def test_numpy_ids_are_as_good_as_a_list(runtime, ids) -> None:
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    (logits,) = runtime.step([Feed(0, np.array(ids, np.int32), "all")])
    assert np.array_equal(logits, expected)


def test_a_step_without_feeds_gives_nothing(runtime) -> None:
    assert runtime.step([]) == []


# Sequences


def test_prefill_in_one_step_equals_token_by_token(runtime, ids) -> None:
    at_once = _alone(runtime, ids)
    runtime.keep(0, 0)
    one_by_one = np.concatenate([runtime.step([Feed(0, [each])])[0].copy() for each in ids])
    assert _same(one_by_one, at_once)


def test_prefill_in_uneven_steps_equals_one_step(runtime, ids) -> None:
    at_once = _alone(runtime, ids)
    runtime.keep(0, 0)
    parts = [runtime.step([Feed(0, ids[a:b], "all")])[0].copy() for a, b in ((0, 7), (7, 8), (8, 31), (31, 40))]
    assert _same(np.concatenate(parts), at_once)


def test_unwanted_logits_change_nothing_later(runtime, ids) -> None:
    at_once = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:20], "none")])
    assert _same(runtime.step([Feed(0, ids[20:], "all")])[0], at_once[20:])


def test_sequences_fed_together_equal_each_alone(runtime, ids) -> None:
    other = _random_ids(runtime, 23, seed=2)
    alone = _alone(runtime, ids), _alone(runtime, other)
    runtime.keep(0, 0)
    together = runtime.step([Feed(2, ids, "all"), Feed(0, other, "all")])
    assert _same(together[0], alone[0])
    assert _same(together[1], alone[1])


def test_sequences_decoded_together_equal_each_alone(runtime, ids) -> None:
    texts = {0: ids, 1: _random_ids(runtime, 40, seed=2), 3: _random_ids(runtime, 40, seed=3)}
    alone = {sequence: _alone(runtime, text) for sequence, text in texts.items()}
    for sequence, text in texts.items():
        runtime.keep(sequence, 0)
        runtime.step([Feed(sequence, text[: 10 + sequence], "none")])
    for i in range(20):
        rows = runtime.step([Feed(s, [text[10 + s + i]]) for s, text in texts.items()])
        for (sequence, expected), row in zip(alone.items(), rows, strict=True):
            assert _same(row, expected[10 + sequence + i : 11 + sequence + i])


def test_one_step_mixes_prefill_and_decode_and_every_kind_of_wish(runtime, ids) -> None:
    texts = [ids, *(_random_ids(runtime, 40, seed) for seed in (2, 3, 4))]
    alone = [_alone(runtime, text) for text in texts]
    for sequence in range(SEQUENCES):
        runtime.keep(sequence, 0)
    runtime.step([Feed(1, texts[1][:30], "none"), Feed(3, texts[3][:12], "last")])
    rows = runtime.step(
        [
            Feed(3, texts[3][12:13]),
            Feed(0, texts[0], "none"),
            Feed(1, texts[1][30:], "all"),
            Feed(2, texts[2], "last"),
        ]
    )
    assert _same(rows[0], alone[3][12:13])
    assert rows[1].shape[0] == 0
    assert _same(rows[2], alone[1][30:])
    assert _same(rows[3], alone[2][-1:])
    found = runtime.step([Feed(0, texts[1][:1], "last")])[0].copy()
    assert _same(found, _alone(runtime, [*ids, texts[1][0]])[-1:])


def test_held_counts_the_tokens_of_each_sequence(runtime, ids) -> None:
    assert [runtime.held(s) for s in range(SEQUENCES)] == [0, 0, 0, 0]
    runtime.step([Feed(1, ids, "none"), Feed(3, ids[:3], "all")])
    runtime.step([Feed(1, ids[:1])])
    assert [runtime.held(s) for s in range(SEQUENCES)] == [0, 41, 0, 3]


def test_a_sequence_can_be_filled_to_its_last_token(runtime) -> None:
    full = _random_ids(runtime, CONTEXT, seed=5)
    (logits,) = runtime.step([Feed(0, full, "last")])
    assert runtime.held(0) == CONTEXT
    assert np.isfinite(logits).all()


def test_all_sequences_can_be_full_at_once(runtime) -> None:
    texts = [_random_ids(runtime, CONTEXT, seed) for seed in range(SEQUENCES)]
    for sequence, text in enumerate(texts):
        runtime.step([Feed(sequence, text[:-1], "none")])
    rows = runtime.step([Feed(sequence, text[-1:]) for sequence, text in enumerate(texts)])
    found = rows[2].copy()
    assert _same(found, _alone(runtime, texts[2])[-1:])


# keep and copy


def test_keeping_nothing_makes_a_fresh_sequence(runtime, ids) -> None:
    expected = _alone(runtime, ids)
    runtime.step([Feed(0, ids[:9], "none")])
    runtime.keep(0, 0)
    assert runtime.held(0) == 0
    assert _same(runtime.step([Feed(0, ids, "all")])[0], expected)


def test_keeping_all_or_more_changes_nothing(runtime, ids) -> None:
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:20], "none")])
    for tokens in (20, 21, CONTEXT * 2):
        runtime.keep(0, tokens)
        assert runtime.held(0) == 20
    assert _same(runtime.step([Feed(0, ids[20:], "all")])[0], expected[20:])


def test_going_on_after_a_cut_equals_a_fresh_sequence(runtime, ids) -> None:
    if not runtime.info.can_cut:
        pytest.skip("this model cannot be cut")
    other = ids[:10] + _random_ids(runtime, 25, seed=6)
    expected = _alone(runtime, other, sequence=1)
    runtime.step([Feed(0, ids, "none")])
    runtime.keep(0, 10)
    assert runtime.held(0) == 10
    found = runtime.step([Feed(0, other[10:], "all")])[0].copy()
    assert _same(found, expected[10:])
    assert _different(found, _alone(runtime, ids)[10:35])


def test_a_model_that_cannot_be_cut_says_so_and_keeps_what_it_has(runtime, ids) -> None:
    if runtime.info.can_cut:
        pytest.skip("this model can be cut")
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:20], "none")])
    with pytest.raises(UsageError):
        runtime.keep(0, 10)
    assert runtime.held(0) == 20
    assert _same(runtime.step([Feed(0, ids[20:], "all")])[0], expected[20:])


def test_copies_go_on_alike_and_then_apart(runtime, ids) -> None:
    other = _random_ids(runtime, 10, seed=7)
    alone = _alone(runtime, ids), _alone(runtime, ids[:30] + other)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:30], "none")])
    runtime.copy(0, 3)
    assert runtime.held(3) == 30
    found = runtime.step([Feed(0, ids[30:], "all"), Feed(3, other, "all")])
    assert _same(found[0], alone[0][30:])
    assert _same(found[1], alone[1][30:])


def test_a_copy_replaces_what_the_target_held(runtime, ids) -> None:
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:30], "none"), Feed(1, _random_ids(runtime, 60, seed=8), "none")])
    runtime.copy(0, 1)
    assert runtime.held(1) == 30
    assert _same(runtime.step([Feed(1, ids[30:], "all")])[0], expected[30:])


def test_a_copy_outlives_its_source(runtime, ids) -> None:
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:30], "none")])
    runtime.copy(0, 1)
    runtime.keep(0, 0)
    runtime.step([Feed(0, _random_ids(runtime, 50, seed=9), "none")])
    assert _same(runtime.step([Feed(1, ids[30:], "all")])[0], expected[30:])


def test_a_copy_can_be_cut_without_a_step_between(runtime, ids) -> None:
    if not runtime.info.can_cut:
        pytest.skip("this model cannot be cut")
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:30], "none")])
    runtime.copy(0, 1)
    runtime.keep(1, 12)
    runtime.copy(1, 2)
    rows = runtime.step([Feed(2, ids[12:], "all"), Feed(0, ids[30:], "all")])
    assert _same(rows[0], expected[12:])
    assert _same(rows[1], expected[30:])


def test_copying_an_empty_sequence_empties_the_target(runtime, ids) -> None:
    expected = _alone(runtime, ids, sequence=1)
    runtime.copy(2, 1)
    assert runtime.held(1) == 0
    assert _same(runtime.step([Feed(1, ids, "all")])[0], expected)


def test_copying_a_sequence_to_itself_changes_nothing(runtime, ids) -> None:
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:30], "none")])
    runtime.copy(0, 0)
    assert runtime.held(0) == 30
    assert _same(runtime.step([Feed(0, ids[30:], "all")])[0], expected[30:])


# save and restore


def test_going_on_after_a_restore_equals_never_having_left(runtime, ids) -> None:
    runtime.step([Feed(0, ids[:30], "none")])
    state = runtime.save(0)
    expected = runtime.step([Feed(0, ids[30:], "all")])[0].copy()
    runtime.keep(0, 0)
    runtime.step([Feed(0, _random_ids(runtime, 50, seed=9), "none")])
    runtime.restore(0, state)
    assert runtime.held(0) == 30
    assert np.array_equal(runtime.step([Feed(0, ids[30:], "all")])[0], expected)


def test_a_state_can_be_restored_in_other_sequences_and_more_than_once(runtime, ids) -> None:
    runtime.step([Feed(0, ids[:30], "none"), Feed(2, _random_ids(runtime, 40, seed=3), "none")])
    state = runtime.save(0)
    expected = runtime.step([Feed(0, ids[30:], "all")])[0].copy()
    for sequence in (1, 2, 3):
        runtime.restore(sequence, state)
        assert np.array_equal(runtime.step([Feed(sequence, ids[30:], "all")])[0], expected)
    assert runtime.held(0) == len(ids)


def test_saving_changes_nothing(runtime, ids) -> None:
    runtime.step([Feed(0, ids[:30], "none")])
    state = runtime.save(0)
    assert runtime.held(0) == 30
    assert runtime.save(0) == state


def test_a_copy_can_be_saved_and_replaced_without_a_step_between(runtime, ids) -> None:
    other = _random_ids(runtime, 20, seed=3)
    expected, others_expected = _alone(runtime, ids), _alone(runtime, other + ids[:5])[20:]
    runtime.step([Feed(1, other, "none")])
    others = runtime.save(1)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:30], "none")])
    runtime.copy(0, 1)
    runtime.copy(0, 2)
    state = runtime.save(1)
    runtime.restore(0, others)  # the source of the copies, which must have been made by now
    runtime.restore(3, state)
    for sequence in (1, 2, 3):
        assert _same(runtime.step([Feed(sequence, ids[30:], "all")])[0], expected[30:])
    assert _same(runtime.step([Feed(0, ids[:5], "all")])[0], others_expected)


def test_a_full_sequence_can_be_copied_saved_and_restored(runtime) -> None:
    full = _random_ids(runtime, CONTEXT, seed=5)
    expected = runtime.step([Feed(0, full, "last")])[0].copy()
    runtime.copy(0, 1)
    state = runtime.save(1)
    runtime.restore(2, state)
    assert (runtime.held(1), runtime.held(2)) == (CONTEXT, CONTEXT)
    if runtime.info.can_cut:
        runtime.keep(2, CONTEXT - 1)
        assert _same(runtime.step([Feed(2, full[-1:])])[0], expected)


def test_an_empty_sequence_can_be_saved_and_restored(runtime, ids) -> None:
    expected = _alone(runtime, ids)
    state = runtime.save(1)
    runtime.restore(0, state)
    assert runtime.held(0) == 0
    assert _same(runtime.step([Feed(0, ids, "all")])[0], expected)


def test_a_state_goes_to_another_runtime_of_the_same_model(opener: Opener, runtime, ids) -> None:
    runtime.step([Feed(0, ids[:30], "none")])
    state = runtime.save(0)
    expected = runtime.step([Feed(0, ids[30:], "all")])[0].copy()
    other = opener(RuntimeOptions(2 * CONTEXT, sequences=SEQUENCES, threads=1))
    other.restore(3, state)
    assert _same(other.step([Feed(3, ids[30:], "all")])[0], expected)
    other.close()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "other bytes": lambda _: b"no state" * 100,
    "the header alone": lambda state: state[:80],
    "a part": lambda state: state[: len(state) // 2],
    "a byte more": lambda state: state + b"0",
    "another number of tokens": lambda state: _flipped(state, 50),
    "a changed byte of the header": lambda state: _flipped(state, 60),
    "a changed byte in the middle": lambda state: _flipped(state, len(state) // 2),
    "a changed last byte": lambda state: _flipped(state, len(state) - 1),
}


def _flipped(state: bytes, place: int) -> bytes:
    return state[:place] + bytes([state[place] ^ 1]) + state[place + 1 :]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused_and_leaves_the_sequence_empty(runtime, ids, damage) -> None:
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:30], "none")])
    damaged = DAMAGES[damage](runtime.save(0))
    with pytest.raises(BadInput) as refusal:
        runtime.restore(0, damaged)
    assert "\n" not in str(refusal.value)
    assert runtime.held(0) == 0
    assert _same(runtime.step([Feed(0, ids, "all")])[0], expected)


# Refusals


WRONG_STEPS = {
    "an empty feed": lambda info: [Feed(0, [1]), Feed(1, [])],
    "a sequence too high": lambda info: [Feed(0, [1]), Feed(SEQUENCES, [1])],
    "a sequence below zero": lambda info: [Feed(0, [1]), Feed(-1, [1])],
    "a sequence twice": lambda info: [Feed(0, [1]), Feed(0, [2])],
    "an id past the vocabulary": lambda info: [Feed(1, [1]), Feed(0, [1, info.vocab_tokens])],
    "an id below zero": lambda info: [Feed(1, [1]), Feed(0, [1, -1])],
    "an id that is no whole number": lambda info: [Feed(1, [1]), Feed(0, [1, 2.5])],
    "an id that overflows": lambda info: [Feed(1, [1]), Feed(0, [1, 2**70])],
    "an id that wraps around to a good one": lambda info: [Feed(1, [1]), Feed(0, [1, 2**32 + 5])],
    "a context outgrown": lambda info: [Feed(1, [1]), Feed(0, [1] * (CONTEXT - 9))],
}


def test_a_model_that_was_not_made_for_embeddings_refuses_them(runtime, ids) -> None:
    assert runtime.info.embedding_width == 0
    runtime.step([Feed(0, ids[:10], "none")])
    with pytest.raises(UsageError, match="no embeddings"):
        runtime.embed([ids])
    assert runtime.held(0) == 10


@pytest.mark.parametrize("wrong", WRONG_STEPS)
def test_a_refused_step_changes_nothing(runtime, ids, wrong) -> None:
    expected = _alone(runtime, ids)
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:10], "none")])
    with pytest.raises(UsageError) as refusal:
        runtime.step(WRONG_STEPS[wrong](runtime.info))
    assert len(str(refusal.value)) > 20
    assert "\n" not in str(refusal.value)
    assert [runtime.held(s) for s in range(SEQUENCES)] == [10, 0, 0, 0]
    assert _same(runtime.step([Feed(0, ids[10:], "all")])[0], expected[10:])


def test_a_step_takes_as_many_tokens_as_it_says_and_no_more(opener: Opener) -> None:
    runtime = opener(RuntimeOptions(CONTEXT, sequences=40, threads=1))
    limit = runtime.info.step_tokens
    feeds, left = [], limit
    while left and len(feeds) < 40:
        count = min(left, CONTEXT)
        feeds.append(Feed(len(feeds), [1] * count, "none"))
        left -= count
    if left:
        pytest.skip(f"40 sequences of {CONTEXT} tokens do not reach the limit of {limit}")
    runtime.step(feeds)
    assert sum(runtime.held(s) for s in range(40)) == limit
    for sequence in range(40):
        runtime.keep(sequence, 0)
    with pytest.raises(UsageError):
        runtime.step([*feeds, Feed(len(feeds), [1])])
    assert [runtime.held(s) for s in range(40)] == [0] * 40
    runtime.close()


@pytest.mark.parametrize("sequence", [-1, SEQUENCES])
def test_a_sequence_that_does_not_exist_is_refused_everywhere(runtime, sequence) -> None:
    for call in (
        lambda: runtime.held(sequence),
        lambda: runtime.keep(sequence, 0),
        lambda: runtime.copy(0, sequence),
        lambda: runtime.copy(sequence, 0),
        lambda: runtime.save(sequence),
        lambda: runtime.restore(sequence, runtime.save(0)),
    ):
        with pytest.raises(UsageError):
            call()


def test_keeping_fewer_than_no_tokens_is_refused(runtime, ids) -> None:
    runtime.step([Feed(0, ids, "none")])
    with pytest.raises(UsageError):
        runtime.keep(0, -1)
    assert runtime.held(0) == len(ids)


def test_a_closed_runtime_can_be_closed_again_and_does_nothing_else(opener: Opener) -> None:
    runtime = opener(RuntimeOptions(CONTEXT, sequences=2, threads=1))
    runtime.step([Feed(0, [1, 2, 3])])
    runtime.close()
    runtime.close()
    for call in (
        lambda: runtime.step([Feed(0, [1])]),
        lambda: runtime.held(0),
        lambda: runtime.keep(0, 0),
        lambda: runtime.copy(0, 1),
        lambda: runtime.save(0),
        lambda: runtime.restore(0, b""),
    ):
        with pytest.raises(EngineFailed):
            call()


def test_two_runtimes_of_one_model_do_not_touch_each_other(opener: Opener, runtime, ids) -> None:
    expected = _alone(runtime, ids)
    other = opener(RuntimeOptions(CONTEXT, sequences=1, threads=1))
    runtime.keep(0, 0)
    runtime.step([Feed(0, ids[:20], "none")])
    other.step([Feed(0, _random_ids(runtime, 30, seed=3), "none")])
    assert _same(runtime.step([Feed(0, ids[20:], "all")])[0], expected[20:])
    other.close()
