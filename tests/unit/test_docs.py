"""What people read is true: documents, help texts, examples and promised keys are those of the code."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest

import make_docs
from bench_results import dense
from counting_server import counting_server
from demo_results import sample
from edgellm import errors
from edgellm.cli.main import cli
from edgellm.cli.verb import EXIT_CODES, VARIABLES, Verb
from edgellm.records.bench import Ceilings
from edgellm.records.keys import KeyLimits
from edgellm.records.lab import LabRow, LabRun
from edgellm.records.machine import EnergySource, Gpu, Missing
from edgellm.serve.key_file import add_key
from edgellm.store.hash_chain import ChainLog
from edgellm.store.results import save
from eval_documents import eval_orders
from ladder_results import ladder
from quick_build import make_quick_build, one_core
from small_recipes import small_mixture

ROOT = make_docs.ROOT
READMES = [ROOT / "README.md", ROOT / "README.ja.md"]
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
ALL_VERBS = {verb.name: verb for verb in make_docs.verbs()}


@pytest.fixture(params=list(ALL_VERBS))
def verb(request: pytest.FixtureRequest) -> Verb:
    return ALL_VERBS[request.param]


@pytest.mark.parametrize(
    "name", ["docs/cli.md", "docs/recipe.md", "src/edgellm/recipes/README.md", "README.md", "README.ja.md"]
)
def test_a_page_is_what_the_code_makes_of_it(name: str) -> None:
    path = ROOT / name
    assert path.read_text(encoding="utf-8") == make_docs.pages()[path], f"{name} is not up to date: run `make docs`"


def test_what_the_readme_shows_is_what_the_demo_prints(capsys: pytest.CaptureFixture[str]) -> None:
    from edgellm.cli.tables import print_demo
    from edgellm.records.results import DemoResult

    print_demo(DemoResult.model_validate_json(make_docs.DEMO.read_text(encoding="utf-8")))
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert printed in READMES[0].read_text(encoding="utf-8")


def test_every_key_of_a_recipe_is_explained() -> None:
    sections = make_docs.record_sections(make_docs.recipe.Recipe, "")
    rows = [line for section in sections for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(record.model_fields) for record in recipe_records())
    assert not [row for row in rows if row.endswith("|  |")]


def recipe_records() -> list[Any]:
    recipe = make_docs.recipe
    rule = recipe.Rule  # stands in two places
    return [recipe.Recipe, recipe.Source, recipe.Quantization, rule, recipe.Variant, rule, recipe.Gate]


def test_every_argument_and_option_is_explained_and_every_verb_has_an_example(verb: Verb) -> None:
    context = click.Context(verb)
    metavars = [a.make_metavar(context).strip("[].") for a in verb.params if isinstance(a, click.Argument)]
    assert list(verb.arguments) == metavars
    assert all(option.help and option.help.endswith(".") for option in verb.options)
    assert verb.examples


def parse(words: list[str]) -> click.Context:
    """Let click read a command line, without running it; a redirection at its end is the shell's."""
    if "<" in words or ">" in words:
        words = words[:-2]
    assert words[0] == "edgellm"
    verb, rest = named_verb(words)
    return verb.make_context(verb.name, rest)


def named_verb(words: list[str]) -> tuple[Verb, list[str]]:
    """The verb of a command line, of one word or two, and what follows it."""
    count = 3 if " ".join(words[1:3]) in ALL_VERBS else 2
    return ALL_VERBS[" ".join(words[1:count])], words[count:]


def test_a_default_is_shown_once_in_the_help(verb: Verb) -> None:
    needed = [o for o in verb.options if o.required or o.opts == ["--out"]]
    given = [w for o in needed for w in (o.opts[0], o.type.choices[0] if isinstance(o.type, click.Choice) else "x")]
    context = parse(["edgellm", *str(verb.name).split(), *["x"] * len(verb.arguments), *given])
    for option in verb.options:
        assert "default" not in (option.help or "")
        if not (option.show_default or option.required):
            assert not context.params[str(option.name)], f"{option.opts[0]} has a default that the help does not show"


def test_the_examples_of_the_help_are_accepted(verb: Verb) -> None:
    for line in verb.examples:
        words = shlex.split(line)
        assert named_verb(words)[0] is verb
        parse(words)


def commands(readme: Path) -> list[list[str]]:
    blocks = SHELL.findall(readme.read_text(encoding="utf-8"))
    return [words for line in "".join(blocks).splitlines() if (words := shlex.split(line, comments=True))]


def test_both_readmes_give_the_same_commands() -> None:
    assert commands(READMES[0]) == commands(READMES[1])
    assert commands(READMES[0])[:2] == [["make", "demo"], ["make", "test"]]


def test_the_commands_of_the_readme_are_accepted() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in commands(READMES[0]):
        if words[0] == "edgellm":
            parse(words)
        elif words[0] == "make":
            assert words[1] in targets
        else:
            assert words[0] in ("source", "curl", "pip")


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_verbs_and_options_named_in_running_text_exist(readme: Path) -> None:
    named = re.findall(r"`(edgellm [^`]+)`", readme.read_text(encoding="utf-8"))
    assert named
    for words in map(shlex.split, named):
        options = [word for word in words if word.startswith("--")]
        if words[1] == "VERB":
            assert options == ["--help"]
        else:
            assert set(options) <= {name for option in named_verb(words)[0].options for name in option.opts}


@pytest.mark.parametrize(
    "page",
    [*READMES, ROOT / "ARCHITECTURE.md", make_docs.RECIPES / "README.md", *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda path: path.name,
)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = {line.lstrip("# ").lower().replace(" ", "-") for line in text.splitlines() if line.startswith("#")}
    for place in re.findall(r"\]\(([^)]+)\)", text):
        if place.startswith("#"):
            assert place[1:] in headings
        elif not place.startswith("https://"):
            assert (page.parent / place).exists(), place


def test_the_exit_codes_are_those_of_the_exceptions() -> None:
    codes, classes = {0, 130, 143}, [errors.EdgellmError]
    while classes:
        classes += (found := classes.pop()).__subclasses__()
        codes.add(found.exit_code)
    assert set(EXIT_CODES) == codes


def test_the_variables_of_no_option_are_those_that_the_code_reads() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "edgellm").rglob("*.py")]
    read = {name for text in sources for name in re.findall(r'environ(?:\.get\(|\[)"(EDGELLM_\w+)"', text)}
    assert read == set(VARIABLES)


def test_an_option_is_called_in_the_environment_as_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELLM_QUANTIZE_TYPE", "Q5_K_M")  # its parameter is called type_name
    context = ALL_VERBS["quantize"].make_context("quantize", ["tiny-ja", "--out", "x"])
    assert context.params["type_name"] == "Q5_K_M"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By verb, the document that `--json` prints; the demo's is its record, for a whole run takes too long here."""
    folder = tmp_path_factory.mktemp("documents")
    build, bundle = make_quick_build(folder / "quick"), str(folder / "bundle")
    orders = {
        "quantize": build.words(folder / "bundle"),
        "calibrate": ["calibrate", str(build.checkpoint), "--text", str(build.text), "--out", str(folder / "i.gguf")],
        "show": ["show", bundle],
        "verify": ["verify", bundle],
        "tokenize": ["tokenize", bundle, "すもももももももものうち"],
        "bench": ["bench", bundle, "--prompt-tokens", "8", "--decode-tokens", "2", "--repeat", "1", "--no-ceilings"],
        "run": ["run", "tiny-ja", "日本の首都はどこですか。", "--max-tokens", "8"],
        "recipes": ["recipes"],
        "compare": ["compare", *(str(save(dense({1: rate}), folder / f"{rate}.json")) for rate in (5.0, 6.0))],
        "claims": ["claims"],
        "doctor": ["doctor", "--quick"],
        "plan": ["plan", "tiny-ja", "--device", "rtx-4090"],
        "report": ["report", str(folder / "5.0.json"), "--out", str(folder / "report.html")],
        "synth": ["synth", str(folder / "small.toml"), "--layers", "1", "--out", str(folder / "synthetic.gguf")],
        "clean": ["clean"],
        "key list": ["key", "list", "--file", str(folder / "keys.jsonl")],
        "audit verify": ["audit", "verify", str(folder / "audit.jsonl")],
    }
    small_mixture(folder)
    add_key(folder / "keys.jsonl", "taro", KeyLimits())
    ChainLog(folder / "audit.jsonl").close()
    with one_core(), counting_server(answer=lambda body: "[[A]]") as judge:
        orders |= eval_orders(folder, judge.url)
        documents = {verb: json.loads(run_for_json(words)) for verb, words in orders.items()}
    row = LabRow(name="desk", done=1, failed=0, skipped=0, sent_bytes=1, results=("result.json",), why="")
    lab = LabRun(bundle="sha256:0", suite="engine-short", devices=(row,))  # a run needs devices: tests/flow has them
    documents["eval ladder"] = json.loads(ladder().model_dump_json())  # a run takes too long here
    # What this machine may lack, or what takes seconds to measure.
    ceilings = Ceilings(memory_bandwidth_bytes_per_s=1.0, flops_per_s=1.0, device="cpu", how="x")
    documents["doctor"]["ceilings"] = ceilings.model_dump(mode="json")
    lacked = {
        "gpus": Gpu(name="x", memory_bytes=1),
        "energy_sources": EnergySource(name="x", what="x", readable=True),
        "missing": Missing(what="x", why="x", get_it_with="x"),
    }
    for key, item in lacked.items():
        documents["doctor"][key].append(item.model_dump(mode="json"))
    return documents | {"demo": json.loads(sample().model_dump_json()), "lab run": lab.model_dump(mode="json")}


def run_for_json(words: list[str]) -> str:
    with redirect_stdout(StringIO()) as out, suppress(errors.GateFailed):  # which comes after the document
        cli([*words, *([] if "--json" in words else ["--json"])], standalone_mode=False)
    return out.getvalue()


def test_every_promised_key_is_printed(verb: Verb, printed: dict[str, Any]) -> None:
    takes_json = any(option.opts == ["--json"] for option in verb.options)
    assert bool(verb.json_keys) == takes_json
    for path in verb.json_keys:
        check_key(printed[str(verb.name)], path)


def check_key(document: Any, path: str) -> None:
    """`path` is written as in docs/cli.md, one that begins with `[]` where the document is a list; a list must have an
    item, or its keys would not be seen."""
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    assert not name or name in document, path
    if rest:
        found = document[name] if name else document
        items = found if head.endswith("[]") else [found]
        assert items, path
        for item in items:
            check_key(item, rest)
