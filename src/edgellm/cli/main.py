"""The command line: verbs are found by name and imported when they are called, so `--help` loads nothing heavy."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from edgellm import __version__
from edgellm.cli.configuration import by_parameter, configured, hint
from edgellm.cli.stopping import STOP, Stopped, say_stopped
from edgellm.cli.verb import EXIT_CODES, Verb, VerbGroup
from edgellm.errors import EdgellmError, UsageError

VERBS = {
    "demo": "the whole pipeline on the embedded model, offline, with a report",
    "doctor": "what this machine is, can do at most, and lacks",
    "recipes": "the recipes that ship, and whether each fits its machines",
    "show": "what is inside a model, without loading its weights",
    "plan": "file size, memory, fit and predicted speed on a machine, before anything is downloaded",
    "calibrate": "collect an importance matrix",
    "quantize": "checkpoint or GGUF to a verified bundle",
    "verify": "check a bundle: digests, structure, tokenizer, fidelity",
    "tokenize": "exact token ids, and what the engine's own vocabulary would give",
    "run": "one answer in the terminal, or a small chat",
    "serve": "OpenAI-compatible server",
    "key": "make, list and revoke the keys of a server",
    "audit": "check a server's audit log",
    "bench": "engine speed as llama-bench defines it, or what load a server bears",
    "eval": "how good a model is, and how much a quantization took away",
    "lab": "the same bench on many devices, over ssh or through Ray",
    "compare": "two results, with an interval for what differs",
    "report": "tables and plots from result files, as one HTML file",
    "claims": "the reports' claims beside what was measured",
    "synth": "a GGUF of a model's true shape with random weights, for its speed and memory",
    "clean": "remove old steps from the work folder",
}


class Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: Verb | VerbGroup = getattr(import_module(f"edgellm.cli.{cmd_name}"), cmd_name)
        command.read_environment()
        if ctx and ctx.default_map and cmd_name in ctx.default_map:
            ctx.default_map[cmd_name] = by_parameter(command, ctx.default_map[cmd_name])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in VERBS:
            raise UsageError(f"the verb is {args[0]!r}, {hint(args[0], list(VERBS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="VERB ...",
    epilog="Begin with `edgellm demo`. `edgellm VERB --help` explains a verb.",
)
@click.version_option(__version__, prog_name="edgellm")
def cli() -> None:
    """From a Japanese language model's published checkpoint to a verified, measured, offline service.

    Most verbs take a TARGET: tiny-ja (the embedded model), a bundle folder, a .gguf, an ONNX folder, a Hugging Face
    checkpoint folder, or a recipe (its name or .toml file).
    """


def main() -> None:
    """Run the command line; every failure is one sentence on stderr and an exit code."""
    try:
        try:
            if "serve" in sys.argv:
                import_module("edgellm.serve.heap").share_heap()  # before there is a thread
            STOP.listen()
            cli(standalone_mode=False, default_map=configured(list(VERBS)))
            code = 0
        except BaseException as error:
            STOP.end_if_asked()
            code = told(error)
        STOP.let_go()
    except Stopped:  # between the work and letting go
        STOP.end_if_asked()
        raise
    sys.exit(code)


def told(error: BaseException) -> int:
    """Say on stderr what went wrong, and give the exit code; for debugging the unexpected is raised again."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return 2
        case click.ClickException():
            click.echo(f"edgellm: {usage_sentence(error)}", err=True)
            return 2
        case click.Abort() | KeyboardInterrupt():
            say_stopped()
            return 130
        case EdgellmError():
            click.echo(f"edgellm: {error}", err=True)
            return error.exit_code
        case BrokenPipeError():
            # The reader of our output has gone (`edgellm … | head`): nothing more to say.
            sys.stderr.close()
            return 1
        case OSError():
            where = f" ({error.filename})" if error.filename else ""
            click.echo(f"edgellm: {error.strerror or error}{where}; check the path, its rights and the disk", err=True)
            return 1
        case Exception() if not os.environ.get("EDGELLM_DEBUG"):
            click.echo(
                f"edgellm: an error that edgellm did not expect ({type(error).__name__}: {error}); "
                "run again with EDGELLM_DEBUG=1 and report what it prints",
                err=True,
            )
            return 1
    raise error


def usage_sentence(error: click.ClickException) -> str:
    """What click says of a wrong call, in one line, and where to read on."""
    said = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "edgellm"
    return said if said.endswith("?") else f"{said}; see `{path} --help`"


if __name__ == "__main__":
    main()
