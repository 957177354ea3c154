"""The command line: verbs are found by name and imported when they are called, so `--help` loads nothing heavy."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from edgellm import __version__
from edgellm.cli.configuration import by_parameter, configured
from edgellm.errors import EdgellmError

VERBS = {
    "demo": "the whole pipeline on the embedded model, offline, with a report",
    "show": "what is inside a model, without loading its weights",
    "calibrate": "collect an importance matrix",
    "quantize": "checkpoint or GGUF to a verified bundle",
    "verify": "check a bundle: digests, structure, tokenizer, fidelity",
    "tokenize": "exact token ids, and what the engine's own vocabulary would give",
    "run": "one answer in the terminal, or a small chat",
    "serve": "OpenAI-compatible server",
    "bench": "engine speed as llama-bench defines it",
    "clean": "remove old steps from the work folder",
}


class Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"edgellm.cli.{cmd_name}"), cmd_name)
        if ctx and ctx.default_map and cmd_name in ctx.default_map:
            ctx.default_map[cmd_name] = by_parameter(command, ctx.default_map[cmd_name])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgellm")
def cli() -> None:
    """From a Japanese language model's published checkpoint to a verified, measured, offline service.

    TARGET is a bundle folder, a .gguf, an ONNX folder, a Hugging Face checkpoint folder, a recipe, or
    tiny-ja (the embedded model).
    """


def main() -> None:
    """Run the command line; every failure is one sentence on stderr and an exit code."""
    try:
        cli(standalone_mode=False, auto_envvar_prefix="EDGELLM", default_map=configured(list(VERBS)))
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("edgellm: stopped", err=True)
        sys.exit(130)
    except EdgellmError as error:
        click.echo(f"edgellm: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (`edgellm … | head`): nothing more to say.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        click.echo(f"edgellm: {error.strerror or error}{where}; check the path, its rights and the disk", err=True)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("EDGELLM_DEBUG"):
            raise
        click.echo(
            f"edgellm: an error that edgellm did not expect ({type(error).__name__}: {error}); "
            "run again with EDGELLM_DEBUG=1 and report what it prints",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
