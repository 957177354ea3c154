"""Whose turn it is, by who was served what."""

from __future__ import annotations

from edgellm.inference.fair_queue import ANSWER_WEIGHT, SWITCHING, Shares


def entered(*users: str) -> Shares:
    shares = Shares()
    for user in users:
        shares.enter(user)
    return shares


def test_within_a_user_the_earliest_comes_first_however_short_the_others_are() -> None:
    assert entered("a", "a", "a").turn([("a", 500), ("a", 1), ("a", 30)]) == 0


def test_a_user_with_many_requests_does_not_keep_another_one_waiting() -> None:
    shares = entered(*"aaaa")
    shares.serve("a", 100)
    shares.enter("b")
    shares.serve("a", 50 + 10 * ANSWER_WEIGHT)
    assert shares.turn([("a", 50), ("a", 50), ("a", 50), ("b", 50)]) == 3


def test_equal_users_take_turns() -> None:
    shares = entered(*"aaabbb")
    work = [("a", 60), ("a", 60), ("a", 60), ("b", 60), ("b", 60), ("b", 60)]
    order = []
    while work:
        user, tokens = work.pop(shares.turn(work))
        shares.serve(user, tokens)
        order.append(user)
    assert order == list("ababab")


def test_what_was_served_before_another_user_came_does_not_count() -> None:
    shares = entered("a")
    shares.serve("a", 1_000_000)
    shares.enter("b")
    shares.serve("b", 200)
    assert shares.turn([("b", 10), ("a", 10)]) == 1


def test_staying_away_saves_nothing_up() -> None:
    shares = entered("a", "b")
    shares.leave("b")
    shares.serve("a", 10_000)
    shares.enter("b")
    shares.serve("b", 200)
    assert shares.turn([("b", 10), ("a", 10)]) == 1


def test_a_prompt_that_was_begun_is_read_to_its_end_unless_a_much_shorter_one_waits() -> None:
    shares = entered("a", "b")
    shares.serve("a", 100)
    assert shares.turn([("a", 900), ("b", 900)], current=0) == 0
    assert shares.turn([("a", 900), ("b", 1000 - SWITCHING)], current=0) == 1


def test_who_left_is_forgotten() -> None:
    shares = entered("a", "b")
    shares.leave("a")
    shares.leave("b")
    assert shares._served == shares._requests == {}
