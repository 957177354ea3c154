"""`serve` once its options are read: put the server together, run it, and say on stderr what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING

import click

from edgellm.cli.computing_options import Computing, Keeping
from edgellm.cli.loading_options import Loading
from edgellm.cli.progress import progress_on_stderr
from edgellm.cli.serving_options import Bounds, Door
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.serve.keys import KeyRing


def serve_models(
    targets: Sequence[str], lora: Sequence[str], door: Door, bounds: Bounds, computing: Computing, keeping: Keeping,
    loading: Loading,
) -> None:  # fmt: skip
    from edgellm.build.serving import Loader, digests, offers
    from edgellm.serve.app import create_app
    from edgellm.serve.audit import AuditLog
    from edgellm.serve.connections import ConnectionLimits
    from edgellm.serve.gennai import GennaiOptions
    from edgellm.serve.guards import Guards
    from edgellm.serve.server import Server, address, bind, run_until_stopped
    from edgellm.serve.service import Service

    keys = key_ring(door)
    if keeping.audit_content and keeping.audit is None:
        raise UsageError("--audit-content keeps texts in the audit log; give --audit FILE too")
    options = loading.options(bounds.context, bounds.parallel, serving=True)
    loader = Loader(options, computing.options(bounds.max_queue), bounds.memory is not None, shown_loading, say)
    with ExitStack() as opened:
        with progress_on_stderr() as progress:
            offered = offers(targets, lora, loader, progress)
            audit = None
            if keeping.audit is not None:
                log = AuditLog(keeping.audit, digests(offered), content=keeping.audit_content, say=say)
                audit = opened.enter_context(closing(log))
        service = Service(list(offered.values()), memory_bytes=bounds.memory, max_waiting=bounds.max_queue)
        service.cache_scope = computing.cache_scope
        guards = Guards(keys, max_body_bytes=bounds.max_body, max_time_s=bounds.max_time, audit=audit)
        sock = bind(door.host, door.port)
        names = " ".join(target.name for target in offered)
        url = address(sock, "https" if door.tls_cert else "http")
        server = Server(
            create_app(service, guards, page=door.page, gennai=GennaiOptions() if door.gennai else None), service,
            lambda: say(f"serving {names} on {url}"),
            drain_s=bounds.drain_s, certificate=door.certificate,
            connections=ConnectionLimits(max_body_bytes=bounds.max_body),
        )  # fmt: skip
        run_until_stopped(server, sock)
        say(f"stopped serving {names}")


def key_ring(door: Door) -> KeyRing | None:
    """The keys that are asked for, read again at SIGHUP; says, or raises, what is wrong with letting others in."""
    from edgellm.serve.key_file import read_keys
    from edgellm.serve.keys import KeyRing, reload_on_hangup
    from edgellm.serve.tls import check_certificate, check_exposure

    if (door.tls_cert is None) != (door.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together; give both, or neither")
    if door.certificate:
        check_certificate(*door.certificate)
    keys, tls = door.api_key_file is not None, door.certificate is not None
    if warning := check_exposure(door.host, keys=keys, tls=tls, insecure=door.insecure):
        say(f"edgellm: {warning}")
    if door.api_key_file is None:
        return None
    ring = KeyRing(read_keys(door.api_key_file))
    reload_on_hangup(ring, door.api_key_file, say)
    return ring


def say(line: str) -> None:
    with suppress(OSError):  # a log that nobody reads any more, or a full disk, is no reason to stop serving
        click.echo(line, err=True)


@contextmanager
def shown_loading(name: str) -> Iterator[None]:
    with progress_on_stderr() as progress, progress.work(f"load {name}"):
        yield
