"""The shape of a verb: what click knows of a command, and besides it what people and programs may rely on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

EXIT_CODES = {
    0: "done",
    1: "failed; the sentence on stderr says what, where and what to do next",
    2: "wrong usage, or a request that cannot be met",
    3: "a quality gate or a verification said no",
    4: "the network would be needed and is not allowed; the sentence says what to bring instead",
    130: "stopped with Ctrl-C; a server that is ready ends with 0",
    143: "stopped with SIGTERM; a server that is ready ends with 0",
}
VARIABLES = {
    "EDGELLM_WORK": "Folder for finished steps; without it `work` in the user's cache folder.",
    "EDGELLM_OFFLINE": "1: no other machine is reached, whatever the command names; this machine still is.",
    "EDGELLM_API_KEY": "Key that `bench --url` and `eval run --url` send to the server, where no `--api-key-file` is "
    "given.",
    "EDGELLM_DEBUG": "1: an error that edgellm did not expect shows its traceback.",
}
# What a TARGET may be: for verbs that load a model, that look into one, and that make one.
LOADABLE = "tiny-ja (the embedded model), a bundle folder, .gguf, ONNX folder, checkpoint folder or recipe."
READABLE = f"{LOADABLE.removesuffix('.')}; also a folder of tokenizer files."
CONVERTIBLE = "tiny-ja (the embedded model), a checkpoint folder, .gguf or recipe."


class Verb(click.Command):
    """A command whose help explains its arguments and ends with examples.

    `arguments`: meaning by metavar. `json_keys`: what `--json` promises, as paths such as `results[].test`
    (an item of a list) and `usage.prompt_tokens` (a key of an object); more keys may follow.
    """

    def __init__(
        self,
        *args: Any,
        arguments: Mapping[str, str] | None = None,
        examples: Sequence[str] = (),
        json_keys: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.arguments, self.examples, self.json_keys = arguments or {}, examples, json_keys or {}

    @property
    def options(self) -> list[click.Option]:
        return [p for p in self.params if isinstance(p, click.Option)]

    def read_environment(self) -> None:
        """Let each option come from the environment too, by the name that it has on the command line."""
        for option in self.options:
            option.envvar = re.sub(r"\W", "_", f"EDGELLM_{self.name}_{spelling(option)}").upper()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(list(self.arguments.items()))
        super().format_options(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class VerbGroup(click.Group):
    """Verbs of two words, `key new` say, which is the full name of each; under the second word they are found here."""

    def __init__(self, name: str, verbs: Sequence[Verb], what: str) -> None:
        by_word: dict[str, click.Command] = {str(verb.name).removeprefix(f"{name} "): verb for verb in verbs}
        super().__init__(name, by_word, help=what, subcommand_metavar="VERB ...")

    @property
    def verbs(self) -> Sequence[Verb]:
        return [verb for verb in self.commands.values() if isinstance(verb, Verb)]

    def read_environment(self) -> None:
        for verb in self.verbs:
            verb.read_environment()


def spelling(option: click.Option) -> str:
    """An option as a file writes it: `--prompt-tokens` is `prompt_tokens`."""
    return option.opts[0].removeprefix("--").replace("-", "_")


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
context_option = click.option(
    "--context", type=click.IntRange(0), default=0, show_default=True, metavar="N",
    help="Room for a prompt, or a conversation, and its answer, in tokens; 0: what the model declares, at most 4096.",
)  # fmt: skip


class TextSource(click.types.StringParamType):
    """Where calibration text comes from; several in one environment variable stand as in PATH, since a path may hold
    spaces."""

    name = "source"
    envvar_list_splitter = os.pathsep


coverage_threshold_option = click.option(
    "--coverage-threshold", type=click.IntRange(1), default=64, show_default=True, metavar="N",
    help="Tokens of calibration text from which an expert counts as reached.",
)  # fmt: skip
require_coverage_option = click.option(
    "--require-coverage", type=click.FloatRange(0, 1), metavar="SHARE",
    help="Share of experts that calibration must reach, 0.99 say; with fewer, the exit code is 3.",
)  # fmt: skip
threads_option = click.option(
    "--threads", type=click.IntRange(0), default=0, show_default=True, metavar="N",
    help="Processor threads; 0: one a core.",
)  # fmt: skip
