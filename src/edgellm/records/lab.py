"""The device lab: which devices there are, what is run on each, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from edgellm.records.base import Record

# A name becomes a folder; a variable's name goes into a command line.
Name = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Word = Annotated[str, StringConstraints(min_length=1)]
PATIENCE_S = 4 * 3600


def listed(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


# One number, or a list of several, each of which is measured.
Counts = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(listed), Field(min_length=1)]
Sequences = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(listed), Field(min_length=1)]


class LabDevice(Record):
    """One machine. Over ssh it is found by `host`, in a Ray cluster by `node` or `label`."""

    name: Name = Field(description="name of the device, and of its folder of results")
    host: str = Field(default="", description="for ssh: address")
    port: int = Field(default=22, gt=0, lt=65536, description="for ssh: port")
    user: str = Field(default="", description="for ssh: user there; without one, the name of the user here")
    key: str = Field(
        default="",
        description="for ssh: private key file, relative to the inventory; without one, those of the ssh agent and of "
        "`~/.ssh`",
    )
    host_key: str = Field(
        default="",
        description="for ssh: the device's public host key, `ssh-ed25519 AAAA…`; without it, `known_hosts` must know "
        "the device",
    )
    node: str = Field(default="", description="for Ray: name, id or address of the node")
    label: dict[str, str] = Field(default_factory=dict, description="for Ray: labels that only this node has")
    resources: dict[str, float] | None = Field(
        default=None,
        description="for Ray: what a bench takes of the node, `{ CPU = 4, GPU = 1 }` say; without it, all processors "
        "and GPUs, so that nothing else of the cluster runs beside it",
    )
    command: Word | tuple[Word, ...] = Field(
        default="edgellm", description="how edgellm is called there: a program's name or path, or a list of words"
    )
    work: str = Field(
        default="edgellm-lab",
        pattern=r"^[^~-][^\x00-\x1f]*$",
        description="folder there for what is sent; a relative one starts at the user's home folder",
    )
    environment: dict[VariableName, str] = Field(
        default_factory=dict, description="environment variables of edgellm there, `EDGELLM_BENCH_THREADS` say"
    )
    timeout_s: float = Field(
        default=PATIENCE_S, gt=0, description="seconds that one call may spend on this device in all"
    )

    @property
    def words(self) -> tuple[str, ...]:
        return (self.command,) if isinstance(self.command, str) else self.command


class Inventory(Record):
    """The devices of a lab, and how they are trusted."""

    schema_version: Literal[1] = Field(default=1, description="version of this form")
    known_hosts: str = Field(
        default="~/.ssh/known_hosts",
        description="for ssh: file of host keys, as OpenSSH writes it, relative to the inventory",
    )
    ray_address: str = Field(
        default="", description="for Ray: address of the cluster, `10.0.0.5:6379` say; without it, `RAY_ADDRESS`"
    )
    devices: tuple[LabDevice, ...] = Field(min_length=1, description="the machines, each `[[devices]]`")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [device.name for device in self.devices]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two devices are called {twice!r}")
        return self


class SuiteEntry(Record):
    """One call of `edgellm bench`; the keys are its options."""

    name: Name = Field(description="name of the entry, for people")
    prompt_tokens: Counts = Field(default=(512,), description="as `--prompt-tokens`: a number or a list")
    decode_tokens: Counts = Field(default=(128,), description="as `--decode-tokens`: a number or a list")
    depth: Counts = Field(default=(0,), description="as `--depth`: a number or a list")
    parallel: Sequences = Field(default=(1,), description="as `--parallel`: a number or a list")
    repeat: int = Field(default=5, ge=1, description="as `--repeat`")
    sustain: str | None = Field(default=None, pattern=r"^\d+(\.\d+)?[smh]$", description="as `--sustain`, `10m` say")

    @property
    def options(self) -> list[str]:
        """The words of the command line."""
        counts = {
            "--prompt-tokens": self.prompt_tokens, "--decode-tokens": self.decode_tokens, "--depth": self.depth,
            "--parallel": self.parallel, "--repeat": (self.repeat,),
        }  # fmt: skip
        words = [word for option, several in counts.items() for word in (option, ",".join(map(str, several)))]
        return [*words, "--sustain", self.sustain] if self.sustain else words


class Suite(Record):
    """What is run on each device, in this order."""

    schema_version: Literal[1] = Field(default=1, description="version of this form")
    name: Name = Field(description="name of the suite")
    title: str = Field(default="", description="one line for people")
    entries: tuple[SuiteEntry, ...] = Field(min_length=1, description="calls of the bench, each `[[entries]]`")


class LabKey(Record):
    """What a result is the result of. A second call finds by it what need not be run again."""

    device: str
    bundle: str  # digest of its manifest, or of the files of a plain GGUF
    entry: str  # digest of the bench's options
    suite: str  # name, for people


class LabRow(Record):
    """What one call did on one device, counted in entries of the suite."""

    name: str
    done: int
    failed: int
    skipped: int  # there were results of an earlier call
    sent_bytes: int
    results: tuple[str, ...]  # files of this call
    why: str  # what failed, in a sentence; empty when nothing did
    notes: tuple[str, ...] = ()  # results that are not valid, and why


class LabRun(Record):
    schema_version: Literal[1] = 1
    bundle: str
    suite: str
    devices: tuple[LabRow, ...]

    @property
    def failed(self) -> tuple[LabRow, ...]:
        return tuple(row for row in self.devices if row.why)
