"""Japanese text without end, the same for the same seed, in which no sentence stands twice."""

from __future__ import annotations

import random
from collections.abc import Iterator

from edgellm.evals.long_ja import words
from edgellm.evals.long_ja.scenes import SCENES

VERSION = 1  # raised when words or templates change: other documents, another test
HOURS = [*(f"午前{hour}時" for hour in range(8, 12)), *(f"午後{hour}時" for hour in range(1, 7))]


def passages(seed: str) -> Iterator[str]:
    """Passages of three sentences; `seed` decides all of them."""
    draw = random.Random(f"long-ja {VERSION} {seed}")
    said: set[str] = set()
    while True:
        scene = draw.choice(SCENES)
        filled = fillings(draw)
        sentences = [draw.choice(step).format(**filled) for step in scene]
        if said.isdisjoint(sentences):
            said.update(sentences)
            yield "".join(sentences)


def fillings(draw: random.Random) -> dict[str, str]:
    """One value for every place of the templates; two of a kind are never the same."""
    name, name2 = draw.sample(words.SURNAMES, 2)
    section, section2 = draw.sample(words.SECTIONS, 2)
    place, place2 = draw.sample(words.places(), 2)
    firm, firm2 = draw.sample(words.FIRMS, 2)
    facility, facility2 = draw.sample(words.FACILITIES, 2)
    small, small2 = draw.sample(range(2, 10), 2)
    return {
        "name": name, "name2": name2, "section": section, "section2": section2, "place": place, "place2": place2,
        "firm": firm, "firm2": firm2, "facility": facility, "facility2": facility2,
        "small": str(small), "small2": str(small2),
        "count": str(draw.randrange(11, 180)), "minutes": str(draw.randrange(5, 60, 5)),
        "month": str(draw.randrange(1, 13)), "date": f"{draw.randrange(1, 13)}月{draw.randrange(1, 29)}日",
        "time": draw.choice(HOURS),
        "equipment": draw.choice(words.EQUIPMENT), "goods": draw.choice(words.GOODS),
        "topic": draw.choice(words.TOPICS), "reason": draw.choice(words.REASONS),
        "remedy": draw.choice(words.REMEDIES), "weather": draw.choice(words.WEATHER),
        "scenery": draw.choice(words.SCENERY), "event": draw.choice(words.EVENTS),
    }  # fmt: skip
