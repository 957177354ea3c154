"""What speculation brings: output tokens a second with and without it, by task and number of clients.

    python benchmarks/speculation.py MODEL [--draft SMALLER.gguf] [--clients 1 8] [--tokens 128] [--rounds 5]

MODEL is a bundle or a GGUF. The tasks: `copy`, a passage that is to be said once more; `table`, lines of one pattern to
go on with, as code and tables are; both greedy; and `prose`, drawn at temperature 1, which repeats little, where drafts
have to cost nothing. Answers are of one length. All kinds of speculation are loaded side by side and take turns, so
that what else the machine does falls on all of them; medians of the rounds, and the first round, in which each learns
what a step costs, is not counted.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgellm.engines.protocol import RuntimeOptions
from edgellm.inference.chat import SamplingOptions
from edgellm.inference.engine import EngineOrder, open_engine
from edgellm.inference.generation import Request
from edgellm.inference.scheduler import Scheduler
from edgellm.inference.scheduler_options import SchedulerOptions
from edgellm.inference.target import resolve
from edgellm.language.tokenizer import Tokenizer
from japanese_prompts import prompts

PASSAGE_TOKENS = 160
Texts = list[tuple[int, ...]]


@dataclass
class Measured:
    tokens_per_s: list[float]
    texts: Texts
    drafted: int = 0
    accepted: int = 0


def tasks(tokenizer: Tokenizer, clients: int, seed: int) -> dict[str, list[list[int]]]:
    """Prompts of each task, one a client."""
    passages = prompts(tokenizer, PASSAGE_TOKENS, seed)
    copies, proses = [], []
    for _ in range(clients):
        passage = next(passages)
        copies.append([*passage, *tokenizer.encode("\n\n"), *passage[: PASSAGE_TOKENS // 4]])
        proses.append(next(passages))
    tables = [tokenizer.encode(table(10 * seed + client)) for client in range(clients)]
    return {"copy": copies, "table": tables, "prose": proses}


def table(number: int) -> str:
    return "\n".join(
        f'    "項目{number}の{row}": {{"値": {row}, "単位": "円", "状態": "確認済み"}},' for row in range(12)
    )


def answer(scheduler: Scheduler, requests: list[Request]) -> tuple[float, Texts, int, int]:
    """Tokens a second of answers side by side while they are decoded; the answers, and drafts made and accepted."""
    generations = [scheduler.submit(request) for request in requests]
    texts = [tuple(generation) for generation in generations]
    timings = [generation.end.timing for generation in generations if generation.end and generation.end.timing]
    spent = max(timing.decode_s for timing in timings)
    rate = sum(len(text) - 1 for text in texts) / spent
    return rate, texts, sum(t.drafted_tokens for t in timings), sum(t.accepted_tokens for t in timings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--draft", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    target = resolve(arguments.model)
    tokenizer = target.tokenizer()
    kinds = {"off": SchedulerOptions(cache_bytes=0)}
    kinds["lookup"] = SchedulerOptions(cache_bytes=0, speculation="lookup")
    if arguments.draft:
        kinds["draft"] = SchedulerOptions(cache_bytes=0, speculation="draft", draft=arguments.draft)
    print(
        f"{'clients':>7}  {'task':6} {'kind':6} {'tok/s':>8} {'ratio':>6}  {'drafted':>7} {'accepted':>8}  same texts"
    )
    for clients in arguments.clients:
        options = RuntimeOptions(context_tokens=1024, sequences=clients, threads=arguments.threads)
        with ExitStack() as stack:
            engines = {
                kind: stack.enter_context(open_engine(EngineOrder(target, options, chosen)))
                for kind, chosen in kinds.items()
            }
            measured: dict[tuple[str, str], Measured] = {}
            for number in range(arguments.rounds + 1):
                for task, prompt_ids in tasks(tokenizer, clients, number).items():
                    # A small model's greedy prose repeats itself before long.
                    sampling = SamplingOptions(temperature=float(task == "prose"), top_p=1.0, seed=number)
                    requests = [Request(ids, sampling, arguments.tokens, ignore_eos=True) for ids in prompt_ids]
                    for kind, scheduler in engines.items():
                        rate, texts, drafted, accepted = answer(scheduler, requests)
                        found = measured.setdefault((task, kind), Measured([], []))
                        if number:
                            found.tokens_per_s.append(rate)
                            found.texts += texts
                            found.drafted += drafted
                            found.accepted += accepted
        show(clients, measured)


def show(clients: int, measured: dict[tuple[str, str], Measured]) -> None:
    for (task, kind), found in measured.items():
        plain = measured[task, "off"]
        ratio = statistics.median(a / b for a, b in zip(found.tokens_per_s, plain.tokens_per_s, strict=True))
        same = sum(a == b for a, b in zip(found.texts, plain.texts, strict=True))
        print(
            f"{clients:7}  {task:6} {kind:6} {statistics.median(found.tokens_per_s):8.1f} {ratio:6.2f}  "
            f"{found.drafted:7} {found.accepted:8}  {same} of {len(found.texts)}"
        )


if __name__ == "__main__":
    main()
