"""Multiple choice by what a model writes: it is asked for a label, and the label is read out of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgellm.evals.choice.extraction import stated_choice
from edgellm.evals.choice.items import ChoiceItem
from edgellm.evals.choice.prompts import chat_prompt
from edgellm.evals.model import Model
from edgellm.evals.scoring import is_refusal
from edgellm.inference.chat import Message, SamplingOptions
from edgellm.records.evals import ItemRecord

GREEDY = SamplingOptions(temperature=0.0, top_p=1.0)


def asked(model: Model, prompt: str, max_tokens: int) -> dict[str, Any]:
    """The answer to one user message, as the journal keeps it. Raises what `Model.reply` raises."""
    reply = model.reply([Message("user", prompt)], GREEDY, max_tokens)
    return {
        "answer": reply.content,
        "reasoning_characters": len(reply.reasoning),
        "prompt_tokens": reply.prompt_tokens,
        "finish_reason": reply.finish_reason,
        "seconds": reply.seconds,
    }


def written_record(item: ChoiceItem, shots: Sequence[ChoiceItem], said: dict[str, Any]) -> ItemRecord:
    """The record of an answer in words; one that names no choice is wrong."""
    return scored_answer(item, said["answer"]).model_copy(
        update={
            "prompt": chat_prompt(item, shots),
            "prompt_tokens": said["prompt_tokens"],
            "reasoning_characters": said["reasoning_characters"],
            "seconds": said["seconds"],
        }
    )


def scored_answer(item: ChoiceItem, answer: str) -> ItemRecord:
    """Right or wrong by the choice that the answer settles on; nothing said, a refusal and no choice are wrong."""
    record = ItemRecord(id=item.id, category=item.category, prompt=item.question, answer=answer, score=0.0)
    if not answer.strip():
        return record.model_copy(update={"status": "empty", "reason": "the model said nothing"})
    chosen = stated_choice(answer, item)
    if chosen is None and is_refusal(answer):
        return record.model_copy(update={"status": "refused", "reason": "the model declined to answer"})
    reason = "" if chosen is not None else "the answer names no choice"
    detail = {"chosen": chosen, "right": item.answer}
    return record.model_copy(update={"score": float(chosen == item.answer), "reason": reason, "detail": detail})
