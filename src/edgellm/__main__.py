"""`python -m edgellm` and the `edgellm` command."""

from __future__ import annotations

import os


def main() -> None:
    """Run the command line; Ctrl-C ends it with one line from the first import on."""
    try:
        from edgellm.cli.main import main as command

        command()
    except KeyboardInterrupt:
        os.write(2, b"\nedgellm: stopped\n" if os.isatty(2) else b"edgellm: stopped\n")
        os._exit(130)


if __name__ == "__main__":
    main()
