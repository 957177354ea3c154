from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgellm.cli.verb import Verb, json_option
from edgellm.errors import GateFailed

if TYPE_CHECKING:
    from edgellm.evals.mt_bench_ja.lint import Linted


@click.command(
    "eval lint",
    cls=Verb,
    arguments={"FILE": "questions, reference answers or checks, one JSON a line; without any, the set that ships."},
    examples=["edgellm eval lint", "edgellm eval lint writing.jsonl stem.jsonl --json"],
    json_keys={
        "passed": "whether every rule is kept",
        "questions": "questions that were read",
        "references": "reference answers that were read",
        "checks": "checks that were read",
        "nearest.question_ids[]": "the two questions that are most alike; `nearest` is null for fewer than two",
        "nearest.similarity": "share of their runs of five characters that both have, 0 to 1",
        "problems[].file": "file in which it stands",
        "problems[].line": "number of the line, or 0 where the set as a whole is meant",
        "problems[].question_id": "id of the question as text, or empty",
        "problems[].turn": "turn of the question, or 0",
        "problems[].rule": "name of the rule that is broken",
        "problems[].found": "what is wrong",
    },
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@json_option
def eval_lint(files: tuple[Path, ...], as_json: bool) -> None:
    """Check two-turn Japanese questions against the rules for them; exit code 3 where one is broken.

    Ids unique and in their category's block of ten, ten questions a category, two turns, no two questions alike, a
    second turn that needs the first, lengths, punctuation, no half-width kana; a reference for each question of
    mathematics, reasoning and coding; checks that are of a question's turn.
    """
    from edgellm.evals.mt_bench_ja.lint import lint

    found = lint(files)
    if as_json:
        click.echo(json.dumps(document(found), ensure_ascii=False))
    else:
        for problem in found.problems:
            click.echo(problem.sentence)
        click.echo(f"{found.questions} questions, {found.references} references, {found.checks} checks")
        if found.nearest:
            one, other, similarity = found.nearest
            click.echo(f"most alike are {one} and {other}: {similarity:.3f}")
    if found.problems:
        counted = f"{len(found.problems)} problem{'' if len(found.problems) == 1 else 's'}"
        raise GateFailed(f"the rules for questions are broken ({counted}); mend the lines that are named")


def document(found: Linted) -> dict[str, object]:
    from dataclasses import asdict

    nearest = found.nearest and {"question_ids": list(found.nearest[:2]), "similarity": found.nearest[2]}
    return {
        "passed": not found.problems,
        "questions": found.questions,
        "references": found.references,
        "checks": found.checks,
        "nearest": nearest,
        "problems": [asdict(problem) for problem in found.problems],
    }
