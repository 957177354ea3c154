"""Generated Japanese text: the same for a seed, never the same sentence twice, nothing left to fill in."""

from __future__ import annotations

import itertools
import re
from string import Formatter

from edgellm.evals.long_ja import scenes, tasks, words
from edgellm.evals.long_ja.prose import fillings, passages
from edgellm.evals.register_ja import detectors
from edgellm.evals.register_ja.politeness import endings
from edgellm.language.japanese import japanese_share


def test_a_seed_gives_the_same_text_and_another_seed_another() -> None:
    first, again, other = (list(itertools.islice(passages(seed), 20)) for seed in ("a", "a", "b"))
    assert first == again
    assert not set(first) & set(other)


def test_no_sentence_stands_twice_in_the_longest_text() -> None:
    whole = list(itertools.islice(passages("long"), 1000))  # about 100,000 characters: 64K tokens
    sentences = [sentence for passage in whole for sentence in passage.split("。") if sentence]
    assert sum(map(len, whole)) > 90_000
    assert len(sentences) == len(set(sentences))


def test_the_text_is_plain_japanese_prose_without_any_fault() -> None:
    whole = "\n".join(itertools.islice(passages("prose"), 200))
    assert not re.search(r"[{}]|  |。。|、。", whole)
    assert japanese_share(whole) > 0.85
    assert not detectors.chinese(whole)
    assert endings(whole).polite == 0
    assert endings(whole).plain > 400


def test_every_place_of_every_template_can_be_filled() -> None:
    import random

    filled = fillings(random.Random(0))
    for scene in scenes.SCENES:
        for step in scene:
            for template in step:
                places = {name for _, name, _, _ in Formatter().parse(template) if name}
                assert places, template  # a sentence without any could be said only once
                assert places <= filled.keys(), template
                assert template.endswith("。")


def test_words_of_the_needles_never_stand_in_the_text() -> None:
    whole = "".join(itertools.islice(passages("words"), 2000))
    subjects = ["暗証番号", "通行証", "巡回点検", "記念館", "絵はがき", "書庫"]
    hidden = [*tasks.STORES, *tasks.PROJECTS, *tasks.DONORS, *subjects]
    assert not [word for word in hidden if word in whole]


def test_no_word_stands_twice_in_a_list() -> None:
    lists = (words.SURNAMES, words.SECTIONS, words.FIRMS, words.EQUIPMENT, words.GOODS, words.TOPICS, words.places())
    for own in lists:
        assert len(own) == len(set(own))
