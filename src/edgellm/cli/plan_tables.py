"""What `edgellm plan` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from edgellm.records.plan import Errors, Plan, PredictedSpeed, PredictionCheck


def print_plan(plan: Plan) -> None:
    console = Console()

    def say(name: str, text: str) -> None:
        console.print(f"{name:12}{text}", markup=False, highlight=False, soft_wrap=True)

    variant = f", variant {plan.variant}" if plan.variant else ""
    active = "" if plan.active_parameters == plan.parameters else f", {plan.active_parameters:,} active"
    vocabulary = " without its vocabulary" if plan.file_bytes_excludes_vocabulary else ""
    device = plan.device
    say("model", f"{plan.recipe} as {plan.type}{variant}: {plan.parameters:,} parameters{active}, {plan.layers} layers")
    say("file", f"{plan.file_bytes:,} bytes{vocabulary}, {plan.bits_per_weight:.2f} bits a weight")
    say("device", f"{device.title}: {device.usable_bytes / 1e9:.1f} of {device.memory_bytes / 1e9:.1f} GB for a model")
    say(
        "memory",
        f"{plan.memory_bytes / 1e9:.2f} GB: weights {plan.weight_bytes / 1e9:.2f}, KV cache {plan.kv_bytes / 1e9:.2f} "
        f"for {plan.parallel} × {plan.context:,} tokens, results about {plan.compute_bytes / 1e9:.2f}",
    )
    say("fits", "yes" if plan.fits else "no")
    for note in plan.notes:
        say("", note)
    say("speed", speed_in_words(plan.predicted))
    if plan.predicted.how:
        say("", f"from {plan.predicted.how}")
    if plan.command:
        say("serve", plan.command)


def speed_in_words(speed: PredictedSpeed) -> str:
    if speed.decode_tokens_per_s is None or speed.prefill_tokens_per_s is None:
        return f"not predicted: {speed.why_not}"
    together = f" by {speed.sequences} sequences together" if speed.sequences > 1 else ""
    each = "each " if speed.sequences > 1 else ""
    depth = f" {each}behind {speed.depth:,} tokens" if speed.depth else ""
    return (
        f"decodes {shown(speed.decode_tokens_per_s)} tokens/s{together}{depth} (bound by {speed.bound}), reads "
        f"{shown(speed.prefill_tokens_per_s)} tokens/s of a prompt of {speed.prompt_tokens} ({speed.prefill_bound})"
    )


def shown(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def print_check(check: PredictionCheck) -> None:
    right = ("published", "predicted", "error", "left out")
    table = Table(
        Column("device", no_wrap=True), "model", "type", "test", *(Column(name, justify="right") for name in right),
        "mark", box=None, pad_edge=False,
    )  # fmt: skip
    for row in check.rows:
        left_out = "apart" if row.left_out_error is None else f"{row.left_out_error:.0%}"
        table.add_row(
            row.device, row.model, row.type, row.test, shown(row.measured), shown(row.predicted),
            f"{row.predicted / row.measured - 1:+.0%}", left_out, row.mark,
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    lines = [f"apart, and why: {r.device}, {r.model} {r.test}: {r.why_apart}" for r in check.rows if not r.counts]
    lines += [f"not predicted: {r.device}, {r.what}, {r.tokens_per_s:g} tokens/s: {r.why}" for r in check.unmodelled]
    lines += ["", "errors; in parentheses those of constants that were fitted without the device in question:"]
    lines += [in_words("decoding", check.decode), in_words("prefill", check.prefill), in_words("both", check.together)]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def in_words(name: str, found: Errors) -> str:
    return (
        f"{name}: median {found.median:.0%} ({found.left_out_median:.0%}), largest {found.largest:.0%} "
        f"({found.left_out_largest:.0%}), of {found.count}"
    )
