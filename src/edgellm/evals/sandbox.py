"""Run Python that nobody vouches for, and come back whole.

Each program runs under bubblewrap as a user that nobody else is, or in a user namespace of its own: no network, no
file of the host but /usr and the standard library of this Python, one small folder in memory, a filter of system
calls, limits on time, memory, processes and output. When it ends, or is ended, everything that it started ends too,
since the first process of a process namespace takes the others with it.

What is left: the kernel itself (a hole in it is a hole here), the processor's time up to the limit, and files below
/usr, which the program can read. Memory is limited for each process and watched in sum; between two looks a program
can take more for some milliseconds, except where a cgroup can be had, in which the kernel counts.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from edgellm.errors import SandboxMissing
from edgellm.evals.confinement.command import INSTALL, command, counts_by_namespace, fresh_identity
from edgellm.evals.confinement.filter import system_call_filter
from edgellm.evals.confinement.group import Group, group
from edgellm.evals.confinement.watch import files_in, held_below, tasks_of_user

LOOK_EVERY_S = 0.02
SET_UP_S = 30.0  # a loaded small machine starts an interpreter slowly
ENDING_S = 5.0
MOST_FILES = 4096
_OF_BUBBLEWRAP = 1  # its process inside, beside the program's own
_SIGNALLED = 128
_CPU_SIGNAL, _KILL_SIGNAL = 24, 9


@dataclass(frozen=True)
class Limits:
    """Of one program, with all the processes that it starts."""

    seconds: float = 10.0  # by the clock, from when the program begins
    cpu_seconds: int = 10  # of each process
    memory_bytes: int = 512 << 20  # of address space for each process, and of memory for all together
    processes: int = 16  # and threads
    tmp_bytes: int = 32 << 20  # the only folder that can be written
    file_bytes: int = 16 << 20
    open_files: int = 64
    output_bytes: int = 256 << 10  # kept of stdout, and of stderr; a program that writes more is ended


LIMITS = Limits()


@dataclass(frozen=True)
class Program:
    """Python text. `modules`: texts of further modules by full name; it sees `given` (what JSON holds) as a global,
    and the number of its end of `channel` as the global `channel`."""

    source: str
    modules: Mapping[str, str] = field(default_factory=dict)
    given: Any = None
    channel: socket.socket | None = None


@dataclass(frozen=True)
class Ran:
    """How a program ended."""

    exit_code: int | None  # 128 + the signal's number where a signal ended it
    stdout: str
    stderr: str
    timed_out: bool
    # time, cpu, memory, processes, output, files: the limit that ended it. signal: one that nobody here sent.
    # ended: the leader was done. Empty: it ended by itself.
    killed_by: str
    seconds: float
    confined_by: str  # cgroup, rlimits


def run_python(source: str, limits: Limits = LIMITS) -> Ran:
    """Run one program. Raises SandboxMissing where it cannot be confined; it is not run then."""
    return run_together([Program(source)], limits)[0]


def run_together(
    programs: Sequence[Program], limits: Limits = LIMITS, closing: Sequence[socket.socket] = ()
) -> list[Ran]:
    """Run programs at once, each in a sandbox of its own; when the first one ends, the others are ended.

    `closing`: sockets that this process closes once the programs have them, so that each sees the other's end.
    Raises SandboxMissing where they cannot be confined; then none is run.
    """
    with ExitStack() as stack:
        running = [_Running(program, limits, stack) for program in programs]
        numbers = [-1 if program.channel is None else program.channel.fileno() for program in programs]
        for end in closing:
            end.close()
        for one, number in zip(running, numbers, strict=True):
            one.begin(number)
        leader = running[0]
        with selectors.DefaultSelector() as waiting:
            for one in running:
                for stream in one.streams:
                    waiting.register(stream, selectors.EVENT_READ, one)
            while leader.alive():
                for key, _ in waiting.select(LOOK_EVERY_S):
                    if not key.data.read(key.fileobj):
                        waiting.unregister(key.fileobj)
                for one in running:
                    one.look()
        for one in running:
            one.end()
        return [one.ran() for one in running]


class _Running:
    """One sandbox from its start to its last process's end."""

    def __init__(self, program: Program, limits: Limits, stack: ExitStack) -> None:
        self.limits, self.program = limits, program
        self.identity = fresh_identity()
        self.killed_by, self.begun, self.ended_after = "", 0.0, 0.0
        self.folder: int | None = None
        extra = _OF_BUBBLEWRAP + 3  # bubblewrap outside, and a shell or two on the way to it
        self.group: Group = stack.enter_context(group(limits.memory_bytes + limits.tmp_bytes, limits.processes + extra))
        self.control, self.process = self._started(stack)
        stack.callback(self._close)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.streams = (self.process.stdout, self.process.stderr)
        self.output: dict[IO[bytes], bytearray] = {stream: bytearray() for stream in self.streams}
        for stream in self.streams:
            os.set_blocking(stream.fileno(), False)

    def _started(self, stack: ExitStack) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair()
        stack.callback(ours.close)
        handed = [theirs.fileno()]
        with theirs, ExitStack() as here:
            filtered = _readable(system_call_filter(), here)
            handed += [] if filtered is None else [filtered]
            handed += [] if self.program.channel is None else [self.program.channel.fileno()]
            line = command(self.identity, self.limits.tmp_bytes, filtered, theirs.fileno())
            environment = None if self.group.environment is None else dict(self.group.environment)
            process = subprocess.Popen(
                [*self.group.prefix, *line], pass_fds=handed, env=environment, cwd="/", bufsize=0,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        return ours, process

    def begin(self, channel: int) -> None:
        """Hand the program over; it runs when this returns. Raises SandboxMissing if the sandbox did not come up."""
        processes = self.limits.processes
        if self.identity is None:  # bubblewrap's process inside is then the same user's
            processes += _OF_BUBBLEWRAP + (0 if counts_by_namespace() else tasks_of_user())
        job = {
            "source": self.program.source, "modules": dict(self.program.modules), "given": self.program.given,
            "channel": channel,
            "identity": self.identity,
            "limits": asdict(self.limits) | {"processes": processes},
        }  # fmt: skip
        text = json.dumps(job).encode()
        self.control.settimeout(SET_UP_S)
        try:
            self.control.sendall(len(text).to_bytes(8, "big") + text)
            said, folders, _, _ = socket.recv_fds(self.control, 16, 1)
        except OSError:
            said, folders = b"", []
        self.folder = folders[0] if folders else None
        if said != b"ready":
            raise SandboxMissing(self._why())
        self.control.close()
        self.begun = time.monotonic()

    def _why(self) -> str:
        """Why bubblewrap, or the interpreter in it, did not come up."""
        self._kill()
        _, said = self.process.communicate()
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it ended without a word"]
        if os.geteuid() == 0:
            advice = "a container needs CAP_SYS_ADMIN for it"
        else:
            advice = (
                "let users make user namespaces (Debian: sysctl kernel.unprivileged_userns_clone=1; Ubuntu 24.04: an "
                "AppArmor profile for bwrap, or sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
            )
        return f"code of answers cannot be confined here: bubblewrap says `{last[0]}`; {advice}, or {INSTALL} anew"

    def alive(self) -> bool:
        return self.process.poll() is None

    def read(self, stream: IO[bytes]) -> bool:
        """Take what the program wrote; False at the end of the stream."""
        piece = stream.read(1 << 16)
        if piece is None:  # nothing now
            return True
        kept = self.output[stream]
        room = self.limits.output_bytes - len(kept)
        kept += piece[:room]
        if len(piece) > room:
            self._kill("output")
        return bool(piece)

    def look(self) -> None:
        """End the program if it is over a limit."""
        if not self.alive():
            return
        held = held_below(self.process.pid)
        if time.monotonic() - self.begun > self.limits.seconds:
            self._kill("time")
        elif held.processes > self.limits.processes + _OF_BUBBLEWRAP:
            self._kill("processes")
        elif held.memory_bytes > self.limits.memory_bytes:
            self._kill("memory")
        elif files_in(self.folder) > MOST_FILES:
            self._kill("files")

    def _kill(self, reason: str = "ended") -> None:
        """bubblewrap takes its first process with it, and that every other."""
        if self.alive():
            self.killed_by = self.killed_by or reason
            self.process.kill()

    def end(self) -> None:
        """End what still runs, and wait until nothing holds its output any more: then every process is gone."""
        alone = not self.alive()
        self._kill()
        code = self.process.wait()
        self.ended_after = time.monotonic() - self.begun
        until = time.monotonic() + ENDING_S
        for stream in self.streams:
            os.set_blocking(stream.fileno(), False)
            while time.monotonic() < until:
                piece = stream.read(1 << 16)
                if piece == b"":
                    break
                if piece is None:
                    time.sleep(0.002)
                    continue
                kept = self.output[stream]
                kept += piece[: self.limits.output_bytes - len(kept)]
        if alone and not self.killed_by:
            self.killed_by = self._signal(code)

    def _signal(self, code: int) -> str:
        if self.group.out_of_memory():
            return "memory"
        return {_SIGNALLED + _CPU_SIGNAL: "cpu"}.get(code, "signal" if code > _SIGNALLED or code < 0 else "")

    def _close(self) -> None:
        self._kill()
        self.process.wait()
        for stream in self.streams if hasattr(self, "streams") else ():
            stream.close()
        if self.folder is not None:
            with suppress(OSError):
                os.close(self.folder)
            self.folder = None

    def ran(self) -> Ran:
        out, err = (bytes(self.output[stream]).decode(errors="replace") for stream in self.streams)
        code = self.process.returncode
        return Ran(
            None if self.killed_by in ("ended", "time", "processes", "output", "files") or code < 0 else code,
            out, err, self.killed_by == "time", self.killed_by, self.ended_after, self.group.kind,
        )  # fmt: skip


def _readable(content: bytes | None, stack: ExitStack) -> int | None:
    """A pipe that holds `content`, which is less than a pipe's room."""
    if content is None:
        return None
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    os.write(writer, content)
    os.close(writer)
    return reader
