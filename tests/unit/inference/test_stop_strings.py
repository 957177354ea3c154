from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgellm.inference.stop_strings import StopStrings


def passed(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    reader = StopStrings(stops)
    shown = "".join(reader.feed(piece) for piece in pieces)
    return shown + reader.flush(), reader.hit


def test_a_possible_beginning_is_held_back_and_shown_when_it_comes_to_nothing() -> None:
    reader = StopStrings(["END"])
    assert reader.feed("say EN") == "say "
    assert reader.feed("D?"[1:]) == "EN?"
    assert not reader.hit


def test_nothing_is_shown_after_a_hit() -> None:
    reader = StopStrings(["。"])
    assert reader.feed("はい。いいえ") == "はい"
    assert reader.hit
    assert reader.feed("まだ") == ""
    assert reader.flush() == ""


def test_without_stop_strings_text_passes_at_once() -> None:
    assert StopStrings([]).feed("そのまま") == "そのまま"


@given(
    text=st.text("ab", max_size=30),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_pieces_give_what_the_text_letter_by_letter_gives(text: str, stops: list[str]) -> None:
    """The reference: the text grows by a letter until it contains a stop string."""
    wanted, hit = text, False
    for end in range(len(text) + 1):
        found = [text[:end].find(stop) for stop in stops if stop in text[:end]]
        if found:
            wanted, hit = text[: min(found)], True
            break
    assert passed(stops, list(text)) == (wanted, hit)


@given(text=st.text("ab", max_size=30), stop=st.text("ab", min_size=1, max_size=4), cut=st.integers(0, 30))
def test_the_place_of_a_cut_does_not_matter_for_one_stop_string(text: str, stop: str, cut: int) -> None:
    assert passed([stop], [text[:cut], text[cut:]]) == (text.partition(stop)[0], stop in text)
