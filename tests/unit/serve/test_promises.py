from __future__ import annotations

from edgellm.serve.promises import Promise, Promises


def promise(caller: str, *, ended: bool = True) -> Promise:
    made = Promise(caller)
    if ended:
        made.end("COMPLETED")
    return made


def test_only_the_latest_answers_of_a_caller_are_kept_and_all_that_are_still_to_come() -> None:
    promises = Promises(kept_s=60, most_kept=2)
    mine = [promise("a") for _ in range(3)]
    coming = [promise("a", ended=False) for _ in range(3)]
    other = promise("b")
    for each in (other, *coming, *mine):
        promises.keep(each)
    assert [promises.find(each.id, "a") is each for each in mine] == [False, True, True]
    assert all(promises.find(each.id, "a") is each for each in coming)
    assert promises.find(other.id, "b") is other


def test_an_answer_is_kept_for_its_time_only() -> None:
    promises = Promises(kept_s=0, most_kept=2)
    come, coming = promise("a"), promise("a", ended=False)
    promises.keep(coming)
    promises.keep(come)
    assert promises.find(come.id, "a") is None
    assert promises.find(coming.id, "a") is coming


def test_nobody_finds_the_answer_of_another() -> None:
    promises = Promises(kept_s=60, most_kept=2)
    promises.keep(mine := promise("a"))
    assert promises.find(mine.id, "b") is None
