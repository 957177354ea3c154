"""From seconds to rates, bytes, operations and shares, against figures worked out by hand."""

from __future__ import annotations

import pytest

from edgellm.bench.engine import Case, Timed
from edgellm.bench.rates import row_of
from edgellm.measures.traffic import Shape, Weight
from edgellm.records.bench import Ceilings, EnergyUse

# Embedding of 10 tokens × 4, one layer of 4 × 4 and 8 experts of 4 × 4 of which 2 are used, output; two bytes a weight.
SHAPE = Shape(
    weights=[
        Weight("token_embd.weight", 40, 80),
        Weight("blk.0.attn_q.weight", 16, 32),
        Weight("blk.0.ffn_up_exps.weight", 128, 256),
        Weight("output.weight", 40, 80),
    ],
    experts=8, experts_used=2, kv_bytes=16.0, attention_width=8,
)  # fmt: skip
CEILINGS = Ceilings(memory_bandwidth_bytes_per_s=10_000.0, flops_per_s=100_000.0, device="cpu", how="by hand")


def test_rates_are_of_all_sequences_together() -> None:
    row = row_of(Timed(Case("tg", 10, 0, 4), 2.0, (1.0, 0.5, 4.0), None), None, None)
    assert (row.test, row.kind, row.tokens, row.depth, row.parallel) == ("tg10x4", "tg", 10, 0, 4)
    assert (row.tokens_per_s.low, row.tokens_per_s.median, row.tokens_per_s.high) == (10.0, 40.0, 80.0)
    assert row.first_run_tokens_per_s == 20.0
    assert row.seconds == (1.0, 0.5, 4.0)


def test_what_is_not_known_stays_null() -> None:
    row = row_of(Timed(Case("tg", 10), 1.0, (1.0,), None), None, CEILINGS)
    empty = (row.characters_per_s, row.joules_per_token, row.bytes_per_token, row.bandwidth_fraction, row.flops_per_s)
    assert empty == (None,) * 5


def test_a_decoded_token_reads_weights_experts_and_its_context() -> None:
    """32 + 80 bytes of dense weights, a quarter of the experts' 256, and 16 for each token before it."""
    row = row_of(Timed(Case("tg", 5, depth=10), 1.0, (1.0,), None), SHAPE, CEILINGS)
    assert row.bytes_per_token == pytest.approx(112 + 64 + 12 * 16)  # 10 to 14 tokens before: 12 on average
    assert row.bandwidth_fraction == pytest.approx(5 * (112 + 64 + 12 * 16) / 10_000)
    assert row.flops_per_s is None


def test_several_sequences_share_one_pass_of_weights() -> None:
    row = row_of(Timed(Case("tg", 1, parallel=2), 1.0, (1.0,), None), SHAPE, None)
    touched = 8 * (1 - (1 - 2 / 8) ** 2)
    assert row.bytes_per_token == pytest.approx((112 + 256 * touched / 8) / 2)
    assert row.bandwidth_fraction is None


def test_a_prompt_computes_active_weights_attention_and_one_output() -> None:
    row = row_of(Timed(Case("pp", 3), 1.0, (2.0,), None), SHAPE, CEILINGS)
    flops = 3 * 2 * (16 + 32) + 2 * 8 * (0 + 1 + 2) + 2 * 40
    assert row.flops_per_s == pytest.approx(flops / 2.0)
    assert row.flops_fraction == pytest.approx(flops / 2.0 / 100_000)
    assert row.bytes_per_token is None


def test_joules_are_shared_by_all_tokens_of_all_runs() -> None:
    used = EnergyUse(source="rapl", seconds=2.0, joules=30.0, idle_watts=5.0, joules_above_idle=20.0)
    row = row_of(Timed(Case("tg", 5, parallel=2), 1.0, (1.0, 1.0), 1.6, (used,)), None, None)
    assert row.joules_per_token == 1.0
    assert row.joules_per_character == pytest.approx(1 / 1.6)


def test_characters_follow_the_median() -> None:
    row = row_of(Timed(Case("tg", 10), 1.0, (1.0, 2.0, 5.0), 1.5), None, None)
    assert row.characters_per_s == 5.0 * 1.5
