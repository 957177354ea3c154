"""Options of `serve`: where it listens and who is let in, and what is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from edgellm.cli.option_groups import byte_count, option_group
from edgellm.cli.verb import context_option

FILE = click.Path(path_type=Path)


@dataclass(frozen=True)
class Door:
    host: str
    port: int
    api_key_file: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    insecure: bool
    page: bool
    gennai: bool

    @property
    def certificate(self) -> tuple[Path, Path] | None:
        return None if self.tls_cert is None or self.tls_key is None else (self.tls_cert, self.tls_key)


door_options = option_group("door", Door, [
    click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on."),
    click.option(
        "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, metavar="N",
        help="Port to listen on; 0: a free one, which the ready line names.",
    ),
    click.option(
        "--api-key-file", type=FILE, metavar="FILE",
        help="File of keys as `edgellm key new` makes it; then only requests that send one are answered.",
    ),
    click.option("--tls-cert", type=FILE, metavar="FILE", help="Certificate chain (PEM), for https; with --tls-key."),
    click.option("--tls-key", type=FILE, metavar="FILE", help="Key of the certificate (PEM, without password)."),
    click.option("--insecure", is_flag=True, help="Let others reach the server without keys and without TLS."),
    click.option("--page/--no-page", default=True, show_default=True, help="A page to chat with, at /."),
    click.option("--gennai", is_flag=True, help="Answer for 源内, too, at /invoke and /status/ID."),
])  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    context: int
    parallel: int
    memory: int | None
    max_queue: int
    max_body: int
    max_time: float | None
    drain_s: float


bounds_options = option_group("bounds", Bounds, [
    context_option,
    click.option(
        "--parallel", type=click.IntRange(1), default=4, show_default=True, metavar="N",
        help="Requests that a model answers at the same time.",
    ),
    click.option(
        "--memory", type=byte_count, metavar="BYTES|GB", show_default="no bound",
        help="What the loaded models may take together, by estimate; the least recently used makes room.",
    ),
    click.option(
        "--max-queue", type=click.IntRange(0), default=64, show_default=True, metavar="N",
        help="Requests that may wait for a model; one more is told to come back later (429).",
    ),
    click.option(
        "--max-body", type=byte_count, default="16MiB", show_default=True, metavar="BYTES",
        help="Largest request.",
    ),
    click.option(
        "--max-time", type=click.FloatRange(0, min_open=True), metavar="SECONDS", show_default="no bound",
        help="Longest time from a request's arrival to the end of its answer.",
    ),
    click.option(
        "--drain-s", type=click.FloatRange(0), default=30.0, show_default=True, metavar="SECONDS",
        help="How long SIGTERM lets requests under way go on.",
    ),
])  # fmt: skip
