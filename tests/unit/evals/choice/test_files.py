"""Files of multiple-choice questions are told apart by what they hold, and a broken line is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgellm.errors import BadInput
from edgellm.evals.choice.files import left_out, read_items
from edgellm.evals.choice.flips import own_items

JCQA = {"q_id": 7, "question": "魚がいるのは？", "label": 2} | {f"choice{i}": c for i, c in enumerate("山空海紙机")}
EXAM = {
    "question_id": "120A-1", "block": "A", "number": 1, "question_type": "multiple_choice",
    "question_text": "正しいのはどれか。\na 肺\nb 胃\nc 皮膚\nd 骨\ne 耳", "clinical_images": [],
    "requires_image": False, "num_choices_to_select": 1, "answer": ["c"],
}  # fmt: skip


def written(path: Path, *entries: object) -> Path:
    path.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")
    return path


def test_jcommonsenseqa_is_read(tmp_path: Path) -> None:
    (item,) = read_items(written(tmp_path / "valid.json", JCQA))
    assert (item.id, item.choices, item.answer) == ("7", ("山", "空", "海", "紙", "机"), 2)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_jmmlu_csv_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "physics.csv"
    rows = '"重さの単位は、次のうち\nどれか。","A, B",秒,"グラム ""g""",度,C\n二足す二は,1,2,3,4,D\n'
    path.write_text(mark + rows, encoding="utf-8")
    first, second = read_items(path)
    assert first.question == "重さの単位は、次のうち\nどれか。"
    assert (first.choices[0], first.choices[2], first.answer) == ("A, B", 'グラム "g"', 2)
    assert (second.id, second.category, second.label(3)) == ("physics-2", "physics", "D")


def test_a_folder_of_csv_files_is_one_set_with_a_category_a_file(tmp_path: Path) -> None:
    for name in ("law", "music"):
        (tmp_path / f"{name}.csv").write_text("問,ア,イ,ウ,エ,A\n", encoding="utf-8")
    assert [(item.id, item.category) for item in read_items(tmp_path)] == [("law-1", "law"), ("music-1", "music")]


def test_the_exam_gives_its_single_choice_questions_and_counts_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "exam.json"
    others = [
        EXAM | {"question_id": "120A-2", "requires_image": True},
        EXAM | {"question_id": "120A-3", "answer": ["a", "b"]},
        EXAM | {"question_id": "120A-4", "question_type": "calculation", "answer": ["38"]},
    ]
    path.write_text(json.dumps([EXAM, *others], ensure_ascii=False), encoding="utf-8")
    (item,) = read_items(path)
    assert (item.question, item.choices, item.answer) == ("正しいのはどれか。", ("肺", "胃", "皮膚", "骨", "耳"), 2)
    assert item.label(2) == "c"
    assert left_out(path) == ["120A-2", "120A-3", "120A-4"]


@pytest.mark.parametrize(("answer", "index"), [(1, 1), ("B", 1), ("b", 1), ("犬", 1), ("猫", 0)])
def test_a_general_item_names_its_answer_by_index_letter_or_words(
    tmp_path: Path, answer: object, index: int
) -> None:  # fmt: skip
    entry = {"id": "x", "question": "ほえるのは？", "choices": ["猫", "犬"], "answer": answer}
    (item,) = read_items(written(tmp_path / "own.jsonl", entry))
    assert item.answer == index


def test_numbers_as_choices_are_called_by_letters(tmp_path: Path) -> None:
    entry = {"id": "x", "question": "一足す一は？", "choices": ["２", "3"], "answer": 0}
    (item,) = read_items(written(tmp_path / "own.jsonl", entry))
    assert item.label(0) == "A"


def test_line_separators_within_strings_end_no_line(tmp_path: Path) -> None:
    entry = {"id": "x", "question": "一行目\u2028二行目\u0085三行目", "choices": ["あ", "い"], "answer": 0}
    assert len(read_items(written(tmp_path / "own.jsonl", entry))) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": 1, "question": "問", "choices": ["あ", "い"], "answer": 0}\n{"id": 2,', "line 2 is no JSON"),
        ('{"id": 1, "question": "問", "choices": ["あ", "い"], "answer": 2}', "line 1 has the answer 2"),
        ('{"id": 1, "question": "問", "choices": ["あ", "い"], "answer": "Z"}', "line 1 has the answer 'Z'"),
        ('{"id": 1, "question": "問", "choices": ["あ"], "answer": 0}', "line 1 has 1 choices"),
        ('{"id": 1, "question": "問", "choices": ["あ", ""], "answer": 0}', "line 1 has a choice that is not text"),
        ('{"id": 1, "question": " ", "choices": ["あ", "い"], "answer": 0}', "line 1 has no text under 'question'"),
        ('{"question": "問", "choices": ["あ", "い"], "answer": 0}', "line 1 has no 'id'"),
        ('{"id": 1, "text": "問"}', "line 1 is of no format that is known"),
        ("問,あ,い,う,え,A\n問,あ,い,う,A\n", "line 2 has 5 cells"),
        ('問,"あ\nあ",い,う,え,A\n問,あ,い,う,え,5\n', "line 3 has the answer '5'"),
        ('問,"あ,い,う,え,A\n', "line 1 is not valid CSV"),
        ("[1, 2]", "entry 1 is no JSON object"),
        ("[{]", "line 1 is not valid JSON"),
        ("", "is empty"),
        ("{}", "holds no question"),
    ],
)
def test_a_broken_file_is_refused_with_the_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=words) as caught:
        read_items(path)
    assert str(path) in str(caught.value)


def test_two_items_of_one_id_are_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"line 2 has the id '7' of .* line 1"):
        read_items(written(tmp_path / "twice.jsonl", JCQA, JCQA))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sjis.csv"
    path.write_bytes("ok,a,b,c,d,A\n問,あ,い,う,え,A\n".encode("shift_jis"))
    with pytest.raises(BadInput, match="line 2 is not UTF-8"):
        read_items(path)


def test_our_own_items_are_a_hundred_with_answers_in_every_place() -> None:
    items = own_items()
    assert len(items) == len({item.question for item in items}) == 100
    assert all(len(set(item.choices)) == len(item.choices) == 4 for item in items)
    assert [sum(item.answer == i for item in items) for i in range(4)] == [25] * 4
    counts = {name: sum(item.category == name for item in items) for name in {item.category for item in items}}
    assert counts == dict.fromkeys(("everyday", "words", "numbers", "reasoning", "safety"), 20)
    assert len({item.category for item in items[:5]}) == 5  # a limit leaves some of each
