from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from edgellm.cli.verb import Verb, VerbGroup, json_option

file_option = click.option(
    "--file", "path", type=click.Path(path_type=Path), default=Path("keys.jsonl"), show_default=True,
    metavar="FILE", help="Key file, which `serve --api-key-file` reads.",
)  # fmt: skip
RELOAD = "a running server reads the file again on SIGHUP"


@click.command(
    "key new",
    cls=Verb,
    examples=[
        "edgellm key new --name taro",
        "edgellm key new --name batch --file keys.jsonl --rate 60 --concurrency 2",
    ],
)
@click.option("--name", required=True, metavar="NAME", help="Whose key it is, as logs will say; unique in the file.")
@file_option
@click.option("--rate", type=click.IntRange(1), metavar="N", help="Requests a minute that it may send.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Requests that it may have answered at once.")
@click.option("--output-tokens", type=click.IntRange(1), metavar="N", help="Tokens a minute that it may be given.")
@click.option(
    "--expires", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Day from whose beginning (UTC) it is refused."
)
def new(
    name: str, path: Path, rate: int | None, concurrency: int | None, output_tokens: int | None,
    expires: datetime | None,
) -> None:  # fmt: skip
    """Make an API key and print it, this once: the file keeps a salted hash.

    The file is made where there is none, readable by its owner alone. A line is one key, a JSON record with `name`,
    `salt` and `hash` (SHA-256 of salt and key; a key is 32 random bytes, so nobody can try them all) and its limits.
    A line that is no JSON is a key itself, without a limit.
    """
    from datetime import UTC

    from edgellm.records.keys import KeyLimits
    from edgellm.serve.key_file import add_key

    limits = KeyLimits(
        requests_per_minute=rate, concurrent_requests=concurrency, output_tokens_per_minute=output_tokens
    )
    key = add_key(path, name, limits, expires.replace(tzinfo=UTC) if expires else None)
    click.echo(key)
    click.echo(f"edgellm: the key of {name} is in {path}; {RELOAD}", err=True)


@click.command(
    "key list",
    cls=Verb,
    examples=["edgellm key list", "edgellm key list --file keys.jsonl --json"],
    json_keys={
        "[].name": "whose key it is",
        "[].created": "when it was made, in UTC, or null where nobody knows",
        "[].expires": "from when it is refused, or null",
        "[].requests_per_minute": "requests a minute that it may send, or null for no limit",
        "[].concurrent_requests": "requests that it may have answered at once, or null",
        "[].output_tokens_per_minute": "tokens a minute that it may be given, or null",
    },
)
@file_option
@json_option
def listing(path: Path, as_json: bool) -> None:
    """List the keys of a file, by name and with their limits."""
    from edgellm.cli.tables import print_keys
    from edgellm.serve.key_file import read_keys

    keys = [record.model_dump(mode="json", exclude={"salt", "hash"}) for record in read_keys(path)]
    if as_json:
        click.echo(json.dumps(keys, ensure_ascii=False))
    else:
        print_keys(keys)


@click.command(
    "key revoke",
    cls=Verb,
    arguments={"NAME": "whose key it is, as `edgellm key list` says."},
    examples=["edgellm key revoke taro"],
)
@click.argument("name")
@file_option
def revoke(name: str, path: Path) -> None:
    """Remove a key from the file."""
    from edgellm.serve.key_file import revoke_key

    revoke_key(path, name)
    click.echo(f"revoked the key of {name}; {RELOAD}")


key = VerbGroup("key", [new, listing, revoke], "Make, list and revoke the API keys of a server.")
