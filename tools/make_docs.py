"""Write docs/cli.md, docs/recipe.md and recipes/README.md from the code, and what one sees into both READMEs from
docs/demo.json."""

from __future__ import annotations

import argparse
import io
import json
import os
import types
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console

from edgellm.build.recipe_check import Checked, check
from edgellm.cli.main import VERBS, Verbs, cli
from edgellm.cli.tables import (
    DEVICES,
    MACHINES,
    access,
    device_cells,
    gigabytes,
    ladder_cells,
    machine_cells,
    print_demo,
)
from edgellm.cli.verb import EXIT_CODES, VARIABLES, Verb, VerbGroup
from edgellm.engines.gguf.types import FILE_TYPES, TENSOR_TYPES
from edgellm.records import recipe
from edgellm.records.results import DemoResult
from edgellm.store.atomic import write_text
from edgellm.store.catalogue import RECIPES, load_devices, load_recipe, model_recipes, recipe_names

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "docs" / "demo.json"
BEGIN, END = "<!-- made by `make docs` from docs/demo.json -->", "<!-- end -->"
MADE = "<!-- Made from the code by `make docs`; do not edit. -->"
LADDER_JA = ("型", "MB", "bit/重み", "平均 KLD", "最上位一致 %", "bit/byte", "トークン/秒", "文字/秒")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```"


def verbs() -> Iterator[Verb]:
    context = click.Context(cli)
    assert isinstance(cli, Verbs)
    for name in VERBS:
        verb = cli.get_command(context, name)
        if isinstance(verb, VerbGroup):
            yield from verb.verbs
        else:
            assert isinstance(verb, Verb)
            yield verb


def cli_page() -> str:
    parts = [
        f"# The command line\n\n{MADE}\n\n{paragraphs(cli.help)}",
        "The answer goes to stdout, progress and notes to stderr. With `--json` stdout holds exactly one JSON "
        "document; its keys below are promised, more may follow, and units are in the names. `results[].test` is the "
        "key `test` of each item of the list `results`.",
        table(["verb", "does"], [[f"[`{name}`](#{name})", what] for name, what in VERBS.items()]),
        "## Where an option's value comes from\n\nThe first of these that names it:\n\n"
        "1. the command line: `--port 9000`\n"
        "2. the environment: `EDGELLM_SERVE_PORT=9000`\n"
        "3. `edgellm.toml` in the working folder: `port = 9000` below `[serve]`\n"
        "4. `edgellm.toml` in the user's configuration folder (Linux: `~/.config/edgellm/`)\n"
        "5. the default\n\n"
        "A flag is `1` in the environment and `true` in a file. What may be given several times is a list in a file; "
        "what separates it in the environment is said beside the variable. These variables belong to no option:",
        table(["variable", "meaning"], [[f"`{name}`", what] for name, what in VARIABLES.items()]),
        "## Exit codes",
        table(["code", "meaning"], [[str(number), what] for number, what in EXIT_CODES.items()]),
        *map(section, VERBS),
    ]
    return "\n\n".join(parts) + "\n"


def section(name: str) -> str:
    """What there is to say of a verb, or of each verb of a group."""
    assert isinstance(cli, Verbs)
    verb = cli.get_command(click.Context(cli), name)
    if isinstance(verb, VerbGroup):
        links = ", ".join(f"[`{each.name}`](#{str(each.name).replace(' ', '-')})" for each in verb.verbs)
        return "\n\n".join([f"## {name}", f"{verb.help} {links}", *map(verb_section, verb.verbs)])
    assert isinstance(verb, Verb)
    return verb_section(verb)


def paragraphs(text: str | None) -> str:
    """A help text with each paragraph on one line."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def verb_section(verb: Verb) -> str:
    context = click.Context(verb, info_name=f"edgellm {verb.name}")
    usage = " ".join([context.command_path, *verb.collect_usage_pieces(context)])
    parts = [f"## {verb.name}", code(usage), paragraphs(verb.help)]
    if verb.arguments:
        parts.append(table(["argument", "meaning"], [[f"`{n}`", what] for n, what in verb.arguments.items()]))
    rows = [option_row(option, context) for option in verb.options]
    parts.append(table(["option", "meaning", "default", "environment"], rows))
    parts += ["Examples:", code("\n".join(verb.examples), "sh")]
    if verb.json_keys:
        parts.append(table(["key of `--json`", "meaning"], [[f"`{k}`", what] for k, what in verb.json_keys.items()]))
    return "\n\n".join(parts)


def option_row(option: click.Option, context: click.Context) -> list[str]:
    name = option.opts[0] if option.is_flag else f"{option.opts[0]} {option.make_metavar(context)}"
    return [f"`{name}`", option.help or "", default_of(option), f"`{option.envvar}`{separator_of(option)}"]


def separator_of(option: click.Option) -> str:
    """How a variable holds several values, for an option that may be given several times."""
    if not option.multiple:
        return ""
    if option.type.envvar_list_splitter == os.pathsep:
        return ", separated as in `PATH` (`:`, on Windows `;`)"
    return ", separated by spaces"


def default_of(option: click.Option) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    if option.is_flag:
        return "off"
    return f"`{option.default}`" if option.show_default else "none"


def recipe_page() -> str:
    example = (RECIPES / "tiny-ja.toml").read_text(encoding="utf-8").rstrip("\n")
    parts = [
        f"# Recipes\n\n{MADE}\n\n{paragraphs(recipe.__doc__)}",
        code("edgellm quantize my-recipe.toml --out my-bundle", "sh"),
        "A checkpoint or GGUF that is given without a recipe is held to the one called `default`. A key that is not "
        "listed here is an error, never ignored. These recipes ship:",
        table(["name", "for"], [[f"`{name}`", load_recipe(name).title] for name in recipe_names()]),
        "What each needs and what comes out is in [recipes/README.md](../src/edgellm/recipes/README.md).",
        *record_sections(recipe.Recipe, ""),
        "## Types\n\nThe bits are those of the type that most weights of the mixture get; some tensors get more.",
        table(
            ["type", "bits a weight", "needs a matrix"],
            [[f"`{t.name}`", f"{TENSOR_TYPES[t.default].bits_per_weight:.4g}", "yes" if t.needs_imatrix else ""]
             for t in FILE_TYPES.values()],
        ),
        "## An example\n\nThe recipe of the embedded model, as it ships:",
        code(example, "toml"),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def record_sections(record: type[BaseModel], place: str, brackets: str = "[|]") -> list[str]:
    """A section for a record and one for each record that it holds; `place` is its table in the TOML file."""
    rows, inner = [], []
    for name, info in record.model_fields.items():
        words, held, kind = type_of(info.annotation)
        rows.append([f"`{name}`", words, limits(info), default_words(info), info.description or ""])
        if held:
            below = f"{place}.{name}" if place else name
            inner += record_sections(held, *{"dict": (f"{below}.NAME",), "list": (below, "[[|]]")}.get(kind, (below,)))
    begin, end = brackets.split("|")
    heading = f"## `{begin}{place}{end}`" if place else "## Top of the file"
    heads = ["key", "type", "limits", "default", "meaning"]
    return [f"{heading}\n\n{paragraphs(record.__doc__)}", table(heads, rows), *inner]


def type_of(annotation: Any) -> tuple[str, type[BaseModel] | None, str]:
    """(words, the record that is held if any, in what) for a type that a recipe's field may have."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inside), None, ""
    if origin in (Union, types.UnionType):
        parts = [type_of(part) for part in inside if part is not type(None)]
        return " or ".join(words for words, _, _ in parts), parts[0][1], parts[0][2]
    if origin in (dict, tuple):
        words, held, _ = type_of(inside[1 if origin is dict else 0])
        whole, kind = ("table", "dict") if origin is dict else ("list", "list")
        return f"{whole} of {words}{'s' if held else ''}", held, kind
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table", annotation, ""
    words = {str: "text", float: "number", int: "whole number", bool: "`true` or `false`", Any: "any value"}
    return words[annotation], None, ""


def limits(info: FieldInfo) -> str:
    signs = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}
    found = [(signs[type(limit)], limit) for limit in info.metadata]
    return ", ".join(f"{sign} {getattr(limit, field)}" for (sign, field), limit in found)


def default_words(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value in (None, "", {}, ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return "as below" if isinstance(value, BaseModel) else f"`{value}`"


@cache
def recipes_page() -> str:
    """Which models the recipes are for, and what each variant comes to on its machines."""
    recipes = [load_recipe(name) for name in model_recipes()]
    parts = [
        f"# The recipes\n\n{MADE}",
        "`edgellm quantize NAME --out DIR` makes the bundle, `--variant` another one for a class of machines. The keys "
        "of a recipe are explained in [docs/recipe.md](../../../docs/recipe.md).",
        table(["recipe", "for", "weights", "licence", "claims"], map(recipe_row, recipes)),
        "## What one has to bring",
        "\n".join(f"- `{r.name}`: {bring}" for r in recipes if (bring := what_to_bring(r))),
        "## What comes out",
        "Every rule of every variant is held against the tensors of the full model by llama.cpp's own quantizer, "
        "without weights (`edgellm recipes --check`); sizes are those of that plan, without the vocabulary. Shapes "
        "that are assumed are marked in the recipes. How much quality a choice keeps is known only for `tiny-ja`: the "
        "others await the real weights. The room is for the weights and the cache of one sequence.",
        table(
            ["recipe", "variant", "type", "file", "context", "cache", "room"],
            [size_row(r.name, row) for r in recipes for row in check(r)],
        ),
        "## Classes of machines",
        "`edgellm recipes --devices` lists them too, and `--fit NAME` of `edgellm quantize` takes them.",
        table(
            DEVICES,
            [[f"`{name}`", *cells] for name, *cells in (device_cells(d) for d in load_devices() if not d.is_machine)],
        ),
        "## Machines",
        "`edgellm plan --device NAME` predicts speeds on these, and `--fit` takes them too. Bandwidth and peak are as "
        "their makers state them, each with its source in the file; `edgellm plan --check` holds the predictor against "
        "the speeds that others published.",
        table(
            MACHINES,
            [[f"`{name}`", *cells] for name, *cells in (machine_cells(d) for d in load_devices() if d.is_machine)],
        ),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def recipe_row(r: recipe.Recipe) -> list[str]:
    return [f"`{r.name}`", r.title, access(r), r.source.licence, ", ".join(r.targets)]


def what_to_bring(r: recipe.Recipe) -> str:
    if r.source.gated:
        return f"accept the {r.source.licence} at {r.source.gated}"
    return r.source.needs


def size_row(name: str, row: Checked) -> list[str]:
    cells = [f"{gigabytes(n)} GB" if n is not None else "" for n in (row.file_bytes, row.cache_bytes, row.room_bytes)]
    context = f"{row.context_tokens:,}" if row.context_tokens else ""
    return [f"`{name}`", row.variant or "default", row.type, cells[0], context, cells[1], cells[2]]


def seen_in_english(result: DemoResult) -> str:
    """What `edgellm demo` prints at its end, through the function that prints it."""
    console = Console(file=io.StringIO(), width=100)
    print_demo(result, console)
    assert isinstance(console.file, io.StringIO)
    return code("\n".join(line.rstrip() for line in console.file.getvalue().splitlines()), "text")


def seen_in_japanese(result: DemoResult) -> str:
    """The same cells under Japanese headings, as a table: in running text full-width headings do not line up."""
    rows = [ladder_cells(row) for row in result.formats]
    align = "|" + "|".join([":--", *["--:"] * (len(LADDER_JA) - 1)]) + "|"
    heads, _, *body = table(LADDER_JA, rows).splitlines()
    machine = f"{result.machine['cpu']}、{result.machine['cores']} コア"
    said = [
        f"- 質問: {result.question}",
        f"- 回答: {result.reply}",
        f"- バンドル: `{result.bundle}`、レポート: `{result.report}`",
        f"- 測定環境: {machine}、全体で {result.elapsed_s:.0f} 秒",
    ]
    if not all(row.bench.valid for row in result.formats):
        said.append("- かっこ付きの速度は、ほかのプログラムが動いていたため参考値です")
    return "\n".join([heads, align, *body, "", *said])


def with_block(page: str, block: str) -> str:
    """`page` with what stands between the markers replaced; raises ValueError if it has not exactly one pair."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after:
        raise ValueError(f"a README must hold {BEGIN} … {END} exactly once")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def pages() -> dict[Path, str]:
    """Every file that is made here, with the text that it should have."""
    result = DemoResult.model_validate_json(DEMO.read_text(encoding="utf-8"))
    blocks = {ROOT / "README.md": seen_in_english(result), ROOT / "README.ja.md": seen_in_japanese(result)}
    readmes = {path: with_block(path.read_text(encoding="utf-8"), block) for path, block in blocks.items()}
    made = {
        ROOT / "docs" / "cli.md": cli_page(),
        ROOT / "docs" / "recipe.md": recipe_page(),
        RECIPES / "README.md": recipes_page(),
    }
    return made | readmes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, metavar="FILE", help="a demo.json to put in place of docs/demo.json")
    given = parser.parse_args().demo
    if given:
        result = DemoResult.model_validate_json(given.read_text(encoding="utf-8"))
        write_text(DEMO, result.model_dump_json(indent=1) + "\n")
    for path, text in pages().items():
        write_text(path, text)


if __name__ == "__main__":
    main()
