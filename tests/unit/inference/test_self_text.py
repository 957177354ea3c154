from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgellm.errors import UsageError
from edgellm.inference.self_text import generate
from fake_runtime import FakeRuntime
from scripted_runtime import ScriptedRuntime

BOS, EOS = 1, 2


@dataclass
class Marks:
    bos_id: int | None = BOS
    eos_id: int | None = EOS
    stop_ids: frozenset[int] = frozenset({EOS})


def test_chunks_are_whole_begin_with_bos_and_hold_at_least_the_tokens_asked_for() -> None:
    chunks = generate(FakeRuntime(), Marks(), 200, 64)
    assert [len(chunk) for chunk in chunks] == [64] * 4
    assert {chunk[0] for chunk in chunks} == {BOS}


def test_without_bos_a_text_starts_from_eos_and_without_either_from_nothing() -> None:
    assert generate(FakeRuntime(), Marks(bos_id=None), 10, 16)[0][0] == EOS
    with pytest.raises(UsageError, match="neither BOS nor EOS"):
        generate(FakeRuntime(), Marks(bos_id=None, eos_id=None), 10, 16)


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    assert generate(FakeRuntime(), Marks(), 100, 64) == generate(FakeRuntime(), Marks(), 100, 64)
    assert generate(FakeRuntime(), Marks(), 100, 64) != generate(FakeRuntime(), Marks(), 100, 64, seed=1)


def test_a_document_ends_where_the_model_ends_it_and_the_next_starts_from_an_empty_sequence() -> None:
    # Says 10, 11, 12, EOS after the starting token, whatever came before it.
    runtime = ScriptedRuntime(sequences=1, rule=lambda ids, prompt: [10, 11, 12, EOS][len(ids) - 1])
    assert generate(runtime, Marks(), 9, 9) == [[BOS, 10, 11, 12, EOS, 10, 11, 12, EOS]]


def test_documents_written_at_once_do_not_mix() -> None:
    runtime = ScriptedRuntime(sequences=3, rule=lambda ids, prompt: [10, 11, 12, EOS][len(ids) - 1])
    (chunk,) = generate(runtime, Marks(), 13, 13)
    assert chunk == [BOS, *[10, 11, 12, EOS] * 3]


def test_a_document_that_fills_the_context_is_cut_and_the_next_begun() -> None:
    runtime = ScriptedRuntime(sequences=1, context=8, rule=lambda ids, prompt: len(ids))
    (chunk,) = generate(runtime, Marks(stop_ids=frozenset()), 17, 17)
    assert chunk == [BOS, *range(1, 9), *range(1, 9)]


def test_progress_ends_at_the_whole() -> None:
    seen: list[tuple[int, int]] = []
    generate(FakeRuntime(), Marks(), 64, 64, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (63, 63)
    assert seen == sorted(seen)
