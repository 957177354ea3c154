"""Small inputs for each verb of `eval`, and the words with which it is called on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgellm.evals.ifeval_ja.files import OUR_PROMPTS
from edgellm.evals.mt_bench_ja.questions import our_questions


def eval_orders(folder: Path, judge_url: str) -> dict[str, list[str]]:
    """By verb, its words; the judge at `judge_url` prefers what stands first."""
    questions = our_questions()[:4]
    ids = [question.id for question in questions]
    scores = {"judgments": (2, 5, 7, 9), "against": (3, 4, 8, 9)}
    judged = {
        name: jsonl(folder / f"{name}.jsonl", [
            {"question_id": item, "model": "MODEL", "judge": [name, "single-v1"], "judgment": f"[[{score}]]",
             "score": score, "turn": 1, "tstamp": 0.0}
            for item, score in zip(ids, given, strict=True)
        ]) for name, given in scores.items()
    }  # fmt: skip
    answers = {
        name: jsonl(folder / f"{name}.jsonl", [
            {"question_id": item, "answer_id": f"{name}{item}", "model_id": name, "tstamp": 0.0,
             "choices": [{"index": 0, "turns": [f"{name}の答え", "続き"]}]} for item in ids
        ]) for name in ("one", "other")
    }  # fmt: skip
    prompt = json.loads(OUR_PROMPTS.read_text(encoding="utf-8").split("\n")[0])["prompt"]
    responses = jsonl(folder / "responses.jsonl", [{"prompt": prompt, "response": "はい。"}])
    short = [{"question_id": number, "category": "coding", "turns": ["一つだけの短い問い"]} for number in (1001, 1002)]
    bad = jsonl(folder / "bad.jsonl", short)
    worth = ["eval", "calibrate-judge", str(judged["judgments"]), "--against", str(judged["against"])]
    return {
        "eval run": ["eval", "run", "tiny-ja", "--suite", "choice", "--limit", "2", "--threads", "1"],
        "eval score": ["eval", "score", str(responses), "--suite", "ifeval-ja"],
        "eval aggregate": ["eval", "aggregate", str(judged["judgments"]), "--protocol", "fastchat-jp"],
        "eval calibrate-judge": worth,
        "eval pairwise": ["eval", "pairwise", str(answers["one"]), str(answers["other"]), "--judge", judge_url],
        "eval lint": ["eval", "lint", str(bad)],
    }


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
