"""Every rule of the linter trips on what breaks it, and the eighty questions that ship break none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgellm.cli.main import cli
from edgellm.errors import BadInput, GateFailed
from edgellm.evals.mt_bench_ja import lint as linter
from edgellm.evals.mt_bench_ja import wording
from edgellm.evals.mt_bench_ja.files import rows_of
from edgellm.evals.mt_bench_ja.lint import Linted, lint

Row = dict[str, Any]


@pytest.fixture
def rows() -> list[Row]:
    """Ten questions that keep every rule."""
    return [row for _, row in rows_of(linter.DATA / "writing.jsonl")]


@pytest.fixture
def mathematics(rows: list[Row]) -> list[Row]:
    """The same, as questions for which a reference is asked."""
    return [row | {"question_id": 1031 + place, "category": "math"} for place, row in enumerate(rows)]


def linted(folder: Path, *files: Sequence[Row]) -> Linted:
    paths = []
    for number, lines in enumerate(files):
        path = folder / f"{number}.jsonl"
        path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        paths.append(path)
    return lint(paths)


def rules(found: Linted) -> list[str]:
    return [problem.rule for problem in found.problems]


def reference(question_id: int, turns: Sequence[str] = ("一つ目", "二つ目")) -> Row:
    return {"question_id": question_id, "choices": [{"index": 0, "turns": list(turns)}]}


def test_the_eighty_that_ship_break_no_rule() -> None:
    found = lint()
    assert [problem.sentence for problem in found.problems] == []
    assert found.questions == 80
    assert found.references >= 30
    assert found.nearest is not None
    assert found.nearest[2] < linter.NEAR


def test_ten_questions_that_keep_the_rules_are_passed(tmp_path: Path, rows: list[Row]) -> None:
    assert rules(linted(tmp_path, rows)) == []


def test_an_id_that_stands_twice_is_found(tmp_path: Path, rows: list[Row]) -> None:
    rows[3]["question_id"] = rows[2]["question_id"]
    (problem,) = linted(tmp_path, rows).problems
    assert (problem.rule, problem.line, problem.question_id) == ("id", 4, "1073")


def test_an_id_of_another_category_is_found(tmp_path: Path, rows: list[Row]) -> None:
    rows[0]["question_id"] = 1061
    (problem,) = linted(tmp_path, rows).problems
    assert problem.rule == "id"
    assert "block of stem" in problem.found


def test_an_id_of_no_block_is_found(tmp_path: Path, rows: list[Row]) -> None:
    rows[9]["question_id"] = 1081
    assert rules(linted(tmp_path, rows)) == ["id"]


def test_official_ids_are_refused_among_ours(tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [row | {"question_id": 71 + place} for place, row in enumerate(rows)]
    assert rules(linted(tmp_path, ours)) == []
    monkeypatch.setattr(linter, "SHIPPED", (tmp_path / "0.jsonl",))
    assert rules(lint()).count("id") == 10


def test_a_category_that_there_is_not_is_found(tmp_path: Path, rows: list[Row]) -> None:
    rows[0]["category"] = "poetry"
    assert "category" in rules(linted(tmp_path, rows))


def test_a_category_with_nine_questions_is_found(tmp_path: Path, rows: list[Row]) -> None:
    (problem,) = linted(tmp_path, rows[:9]).problems
    assert (problem.rule, problem.found) == ("count", "writing has 9 questions instead of 10")


def test_a_category_that_is_missing_among_ours_is_found(
    tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    linted(tmp_path, rows)
    monkeypatch.setattr(linter, "SHIPPED", (tmp_path / "0.jsonl",))
    assert rules(lint()) == ["count"] * 7


@pytest.mark.parametrize("turns", [["一つだけの問いです。" * 5], ["問いです。" * 20] * 3, "文字列", [1, 2], None])
def test_other_than_two_turns_of_text_is_found(tmp_path: Path, rows: list[Row], turns: object) -> None:
    rows[5]["turns"] = turns
    assert "turns" in rules(linted(tmp_path, rows))


@pytest.mark.parametrize(
    ("turn", "text"), [(1, "短い問い。"), (1, "長" * 1501), (2, "いまの案は？"), (2, "いまの" * 400)]
)
def test_a_turn_that_is_too_short_or_too_long_is_found(tmp_path: Path, rows: list[Row], turn: int, text: str) -> None:
    rows[5]["turns"][turn - 1] = text
    (problem,) = linted(tmp_path, rows).problems
    assert (problem.rule, problem.turn, problem.question_id) == ("length", turn, "1076")


def test_a_question_asked_again_in_another_register_and_setting_is_found_to_be_alike(tmp_path: Path) -> None:
    rows = [row for _, row in rows_of(linter.DATA / "stem.jsonl")]
    rows[6]["turns"] = [
        "電波の弱い畑に置く、電池式の測定器があります。眠っている間は20 µA、10分ごとに起きて2秒間15 mAで測り、1時間"
        "ごとに1秒間80 mAで送信します。電池で実際に使える容量は1600 mAhです。平均電流を三つの内訳に分けて求め、電池が"
        "もつ日数を見積もってください。寿命を延ばすなら、どこから手を付けますか。",
        "置いてみると、一日の半分は電波が届かず、その間は1時間ごとに10秒ずつ80 mAで電波を探しては失敗していました。"
        "初めの内訳を直すと、電池は何日もちますか。測ったデータを失わず、電波が戻ったら1時間以内に送り終えるという条件で、送信の"
        "仕方の改善案を一つ、効果の見積もりを添えて示してください。",
    ]
    (problem,) = linted(tmp_path, rows).problems
    assert (problem.rule, problem.question_id) == ("similar", "1067")
    assert "question 1064" in problem.found


def test_a_second_turn_that_could_be_asked_alone_is_found(tmp_path: Path, rows: list[Row]) -> None:
    rows[1]["turns"][1] = "取引先の担当者に送る年始のあいさつを、200字以内で書いてください。"
    (problem,) = linted(tmp_path, rows).problems
    assert (problem.rule, problem.turn) == ("depends", 2)


@pytest.mark.parametrize(
    "text",
    [
        "先ほどの説明を三行にまとめてください。",
        "いまの案のうち、一つを選んでください。",
        "その結論に反論してください。",
        "「急いでほしい」と言われました。前の返事と食い違わないように答えてください。",
        "条件が一つ増えました。この関数を直してください。",
        "では、同じことを平地で試すとどうなりますか。",
    ],
)
def test_words_that_point_back_are_known(text: str) -> None:
    assert wording.points_back(text)


@pytest.mark.parametrize(
    "text",
    [
        "取引先の社長に送る手紙を書いてください。",
        "今の時代に合った学校の決まりを考えてください。",
        "次の三案を、それぞれ一文で評価してください。",
        "「それは困る」と言う客への返事を書いてください。",
        "工場の朝礼で話します。その場で覚えられる長さにしてください。",
        "午前の作業を終えた人に声をかけます。これからの予定を書いてください。",
        "表を一つ作ってください。次に、この表を縦横入れ替えてください。",
    ],
)
def test_words_of_other_senses_and_of_the_turn_itself_do_not_count(text: str) -> None:
    assert wording.points_back(text) == ""


def test_half_width_kana_is_found(tmp_path: Path, rows: list[Row]) -> None:
    rows[0]["turns"][0] += "ｶﾗｽの絵も入れてください。"
    (problem,) = linted(tmp_path, rows).problems
    assert (problem.rule, problem.turn) == ("half-width-kana", 1)
    assert "ｶﾗｽ" in problem.found


@pytest.mark.parametrize(
    "sign", ["長さは200字(改行を除く)です。", "題を付け,名前も書きます。", "どうですか?", "一行で!"]
)
def test_ascii_punctuation_in_running_japanese_is_found(tmp_path: Path, rows: list[Row], sign: str) -> None:
    rows[0]["turns"][1] += sign
    assert rules(linted(tmp_path, rows)) == ["ascii-punctuation"]


@pytest.mark.parametrize(
    "text",
    [
        "`f(x, y)`を呼びます。",
        "次の形です。\n```\n{\"品名\": \"箱\", \"数\": 2}\n```\n",
        "見出しは「時刻,値」です。",
        "表です。\n品名,個数\n箱,2\n",
        "3.5 m/sで5%の坂を下ります。",
    ],
)  # fmt: skip
def test_code_data_and_figures_are_no_punctuation_of_japanese(text: str) -> None:
    assert wording.ascii_punctuation(text) == ""


def test_the_other_kind_of_stops_is_found(tmp_path: Path, rows: list[Row]) -> None:
    rows[4]["turns"][1] += "なお，急ぎます。"
    (problem,) = linted(tmp_path, rows).problems
    assert (problem.rule, problem.question_id, problem.turn) == ("mixed-stops", "1075", 2)


def test_a_full_width_figure_has_no_stop(tmp_path: Path, rows: list[Row]) -> None:
    rows[4]["turns"][1] += "幅は０．５です。"
    assert rules(linted(tmp_path, rows)) == []


def test_a_question_of_mathematics_without_a_reference_is_found(tmp_path: Path, mathematics: list[Row]) -> None:
    (problem,) = linted(tmp_path, mathematics, [reference(1031 + place) for place in range(9)]).problems
    assert (problem.rule, problem.question_id) == ("reference", "1040")


def test_questions_alone_are_not_asked_for_references(tmp_path: Path, mathematics: list[Row]) -> None:
    assert rules(linted(tmp_path, mathematics)) == []


@pytest.mark.parametrize("turns", [["一つ目"], ["一つ目", " "], ["一つ目", "二つ目", "三つ目"], []])
def test_a_reference_that_does_not_answer_both_turns_is_found(
    tmp_path: Path, mathematics: list[Row], turns: list[str]
) -> None:
    answers = [reference(1031 + place) for place in range(9)]
    assert rules(linted(tmp_path, mathematics, [*answers, reference(1040, turns)])) == ["reference"]


def test_a_reference_that_stands_twice_or_answers_no_question_is_found(tmp_path: Path, mathematics: list[Row]) -> None:
    answers = [reference(1031 + place) for place in range(10)]
    found = linted(tmp_path, mathematics, [*answers, reference(1031), reference(1001)])
    assert [(problem.rule, problem.line) for problem in found.problems] == [("reference", 11), ("reference", 12)]


@pytest.mark.parametrize(("question_id", "turn"), [(1001, 1), (1071, 3), (1071, 0), (1071, None), (1071, "1")])
def test_a_check_of_no_turn_of_a_question_is_found(
    tmp_path: Path, rows: list[Row], question_id: int, turn: object
) -> None:
    sound = {"question_id": 1071, "turn": 2, "kind": "count"}
    wrong = {"question_id": question_id, "turn": turn, "kind": "count"}
    found = linted(tmp_path, rows, [sound, wrong])
    assert [(problem.rule, problem.line) for problem in found.problems] == [("check", 2)]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"question_id": 1071, "category": "writing", "turns": ["一", "二"]}\n{"question_id"\n')
    with pytest.raises(BadInput, match=r"broken\.jsonl, line 2 is no JSON"):
        lint([path])


def test_a_line_without_an_id_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="line 1 cannot be used"):
        linted(tmp_path, [{"category": "writing", "turns": ["一", "二"]}])


def test_files_without_a_question_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no question"):
        linted(tmp_path, [reference(1031)])


def test_the_verb_prints_what_it_found_and_says_no(
    tmp_path: Path, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    rows[0]["turns"][0] += "ｶﾗｽ"
    linted(tmp_path, rows)
    with pytest.raises(GateFailed, match="1 problem"):
        cli(["eval", "lint", str(tmp_path / "0.jsonl"), "--json"], standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    assert printed["passed"] is False
    assert printed["questions"] == 10
    assert printed["problems"][0]["rule"] == "half-width-kana"
    assert printed["problems"][0]["question_id"] == "1071"
    assert 0 < printed["nearest"]["similarity"] < linter.NEAR


def test_the_verb_says_what_it_read(capsys: pytest.CaptureFixture[str]) -> None:
    cli(["eval", "lint"], standalone_mode=False)
    assert "80 questions" in capsys.readouterr().out
