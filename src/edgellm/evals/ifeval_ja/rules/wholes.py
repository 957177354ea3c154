"""M-IFEval's rules about an answer as a whole: how it begins and ends, its language, what it leaves out."""

from __future__ import annotations

import re

from edgellm.evals.ifeval_ja import tongues
from edgellm.evals.ifeval_ja.rules.formats import without_quotations
from edgellm.evals.ifeval_ja.rules.rule import Rule, phrase, trimmed

ANSWERS_APART = "******"
CLOSING = "」』"


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().startswith(prompt_to_repeat)


def two_responses(text: str) -> bool:
    """Two answers that differ, with six asterisks between them; more such lines may stand at either end."""
    parts = [part.strip() for part in text.split(ANSWERS_APART)]
    if not all(parts[1:-1]):
        return False
    answers = [part for part in parts if part]
    return len(answers) == 2 and answers[0] != answers[1]


def response_language(text: str, language: str) -> bool:
    """A text whose language cannot be told counts as following, as in the published program."""
    return tongues.language_of(text) in (language, None)


def no_comma(text: str) -> bool:
    return "、" not in text


def no_period(text: str) -> bool:
    return "。" not in text


def end_checker(text: str, end_phrase: str) -> bool:
    return text.strip().strip(CLOSING).endswith(end_phrase.strip(CLOSING))


def quotation(text: str) -> bool:
    inner = text.strip()
    return len(inner) > 1 and inner.startswith("「") and inner.endswith("」")


def sentence_unified_end(text: str, ending: str) -> bool:
    """Nothing but quotations is taken out, so a line break after the last 。 is a sentence that does not end so."""
    return all(part.endswith(ending) for part in re.split("[。！？]", without_quotations(text)) if part)


RULES = (
    Rule("ja:combination:repeat_prompt", repeat_prompt, {"prompt_to_repeat": trimmed}),
    Rule("ja:combination:two_responses", two_responses),
    Rule("ja:language:response_language", response_language, {"language": phrase}, library=tongues.LIBRARY),
    Rule("ja:punctuation:no_comma", no_comma),
    Rule("ja:punctuation:no_period", no_period),
    Rule("ja:startend:end_checker", end_checker, {"end_phrase": trimmed}),
    Rule("ja:startend:quotation", quotation),
    Rule("ja:startend:sentence_unified_end", sentence_unified_end, {"ending": phrase}),
)
