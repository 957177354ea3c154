"""All that is found in one answer, and what of it is a fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgellm.evals.register_ja import detectors
from edgellm.evals.register_ja.politeness import Style, endings, mixed_styles, other_style
from edgellm.evals.register_ja.repetition import compression, distinct, longest_loop, loops
from edgellm.language.japanese import japanese_share

DRAWN = re.compile(r"[|#*=_>~:+─━│┃-]")
LEAST_JAPANESE = 0.5  # share of kana and kanji; punctuation, numbers and names take the rest


@dataclass(frozen=True)
class Asked:
    """What the prompt asked for."""

    id: str
    category: str
    prompt: str
    style: Style | None
    min_characters: int
    max_characters: int


Detector = Callable[[str, Asked], list[str]]


def whether(found: bool, words: str) -> list[str]:
    return [words] if found else []


def share_of_japanese(text: str) -> float:
    """Of running text: without code, and without the lines that tables and headings are drawn with."""
    return japanese_share(DRAWN.sub("", detectors.prose(text)))


def little_japanese(text: str, asked: Asked) -> list[str]:
    share = share_of_japanese(text)
    return whether(share < LEAST_JAPANESE, f"{share:.0%} Japanese characters")


def wrong_style(text: str, asked: Asked) -> list[str]:
    return whether(asked.style is not None and other_style(text, asked.style), f"not {asked.style}")


def wrong_length(text: str, asked: Asked) -> list[str]:
    """Far from the length that was asked for: the bounds of the prompts are wide."""
    length = len(text.strip())
    return whether(not asked.min_characters <= length <= asked.max_characters, f"{length} characters")


# By the names of the measures; each gives what it found, nothing where all is well.
DETECTORS: Mapping[str, Detector] = {
    "little_japanese": little_japanese,
    "chinese": lambda text, asked: detectors.chinese(text),
    "korean": lambda text, asked: detectors.korean(text),
    "other_scripts": lambda text, asked: detectors.other_scripts(text),
    "english_sentences": lambda text, asked: detectors.english_sentences(text),
    "broken_characters": lambda text, asked: detectors.broken_characters(text),
    "leaked_tokens": lambda text, asked: detectors.leaked_tokens(text),
    "cut_character": lambda text, asked: whether(detectors.ends_within_a_character(text), "at the end"),
    "loops": lambda text, asked: loops(text),
    "mixed_styles": lambda text, asked: whether(mixed_styles(text), "polite and plain"),
    "wrong_style": wrong_style,
    "wrong_length": wrong_length,
}


def faults(text: str, asked: Asked) -> dict[str, list[str]]:
    """What each detector found, at most five things each; only those that found something."""
    found = {name: detect(text, asked)[:5] for name, detect in DETECTORS.items()}
    return {name: things for name, things in found.items() if things}


def figures(text: str) -> dict[str, float]:
    """Numbers of an answer that are no faults by themselves."""
    loop = longest_loop(text)
    own = endings(text)
    return {
        "japanese_share": share_of_japanese(text),
        "characters": float(len(text.strip())),
        "longest_loop_characters": float(loop.characters) if loop else 0.0,
        "distinct_4": distinct(text, 4),
        "compression": compression(text),
        "style_consistency": own.share,
    }
