"""Devices for the lab on this machine: ssh servers on a loopback port, with keys that live as long as a test."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Keys:
    """Of one host and one user."""

    folder: Path
    host: Path
    user: Path

    @property
    def host_key(self) -> str:
        return " ".join(self.host.with_suffix(".pub").read_text().split()[:2])


def make_keys(folder: Path) -> Keys:
    folder.mkdir(parents=True)
    keys = Keys(folder, folder / "host", folder / "user")
    for path in (keys.host, keys.user):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(path)
        key.write_public_key(path.with_suffix(".pub"))
        path.chmod(0o600)
    return keys


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FlippingSftp(asyncssh.SFTPServer):
    """A disk, or a wire, that changes the first byte of what is written."""

    def write(self, file_obj: Any, offset: int, data: bytes) -> Any:
        return super().write(file_obj, offset, bytes([data[0] ^ 1]) + data[1:] if not offset and data else data)


@dataclass
class Server:
    """asyncssh's own server, in a thread."""

    keys: Keys
    port: int
    sftp: Any = True
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        acceptor = self._wait(self._listen())
        try:
            yield self
        finally:
            self.cut()
            acceptor.close()
            self._wait(acceptor.wait_closed())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    def cut(self) -> None:
        """End every connection at once, as a device that loses its power does."""

        async def abort() -> None:
            for connection in self._connections:
                connection.abort()

        self._wait(abort())

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> asyncssh.SSHAcceptor:
        kept = self._connections

        class Kept(asyncssh.SSHServer):
            def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
                kept.append(connection)

        return await asyncssh.create_server(
            Kept, "127.0.0.1", self.port, server_host_keys=[str(self.keys.host)],
            authorized_client_keys=str(self.keys.user.with_suffix(".pub")), process_factory=serve_command,
            sftp_factory=self.sftp, encoding=None,
        )  # fmt: skip


async def serve_command(process: asyncssh.SSHServerProcess[bytes]) -> None:
    child = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", str(process.command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    async def feed() -> None:
        with suppress(Exception):
            while data := await process.stdin.read(1 << 16):
                child.stdin.write(data)
        child.stdin.close()

    async def copy(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
        while data := await source.read(1 << 16):
            with suppress(Exception):  # the connection may be gone
                sink.write(data)

    feeding = asyncio.create_task(feed())
    await asyncio.gather(copy(child.stdout, process.stdout), copy(child.stderr, process.stderr))
    process.exit(await child.wait())
    await feeding


@contextmanager
def openssh(keys: Keys, port: int) -> Iterator[None]:
    """OpenSSH's own server, as this user; skips the test where it is not installed."""
    if SSHD is None:
        pytest.skip("OpenSSH's sshd is not installed; asyncssh's own server stands in for it")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    settings = keys.folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys.host}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {keys.user.with_suffix('.pub')}\nPasswordAuthentication no\nPermitRootLogin yes\n"
        "KbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(settings)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


@dataclass
class StandIn:
    """A program that a device has in the place of edgellm: it answers as edgellm does, with a result of before, notes
    how it was called, and can be made to dwell or to fail."""

    folder: Path

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(self.folder / "stand_in.py")]

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    @property
    def pid(self) -> int | None:
        """Of the bench that dwells."""
        file = self.folder / "pid"
        return int(file.read_text()) if file.exists() and file.read_text() else None


STAND_IN = """
import os, sys, time
from pathlib import Path
here = Path(__file__).parent
if sys.argv[1:] == ["--version"]:
    print("edgellm, version " + (here / "version").read_text())
    sys.exit()
with open(here / "calls", "a", encoding="utf-8") as f:
    f.write(" ".join(sys.argv[1:]) + "\\n")
if (here / "dwell").exists():
    (here / "pid").write_text(str(os.getpid()))
    time.sleep(60)
if (here / "fails").exists() and (here / "fails").read_text() in sys.argv:
    print("edgellm: there is no room for that many sequences", file=sys.stderr)
    sys.exit(1)
print((here / "result.json").read_text(encoding="utf-8"))
"""


def stand_in(folder: Path, result: str, version: str) -> StandIn:
    folder.mkdir(parents=True)
    (folder / "stand_in.py").write_text(STAND_IN)
    (folder / "version").write_text(version)
    (folder / "result.json").write_text(result, encoding="utf-8")
    return StandIn(folder)


def is_gone(pid: int) -> bool:
    """Whether a process ends within a few seconds."""
    import psutil

    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
