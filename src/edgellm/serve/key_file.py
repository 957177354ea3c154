"""The file of API keys: one a line, as a JSON record with a salted hash or, for a start, as the key itself.

Why SHA-256 and no slow hash: a key is 32 random bytes, so nobody can guess it, however fast the guesses are checked;
scrypt or PBKDF2 protect what people choose, and would cost every request a tenth of a second. The salt keeps equal
keys of two files from being recognized.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from edgellm.errors import BadInput, UsageError
from edgellm.records.keys import KeyLimits, KeyRecord
from edgellm.store.atomic import file_aside
from edgellm.store.lock import lock_file, locked

KEY_PREFIX = "edgellm_"  # so that scanners for lost secrets and people know one when they see it
KEY_BYTES = 32
SALT_BYTES = 16
MAKE_ONE = "make one with `edgellm key new`"


def read_keys(path: Path) -> list[KeyRecord]:
    """Every key of the file; empty lines and lines that start with # are skipped.

    Raises UsageError if there is no such file, and BadInput for one without a key or with a line that is no key.
    """
    try:
        lines = read_lines(path)
    except FileNotFoundError:
        raise UsageError(f"there is no key file at {path}; {MAKE_ONE}") from None
    records = records_of(path, lines)
    if not records:
        raise BadInput(f"{path} holds no key, so nobody could use the server; {MAKE_ONE}")
    return records


def read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text; write one key a line into it, or {MAKE_ONE}") from None


def records_of(path: Path, lines: Sequence[str]) -> list[KeyRecord]:
    """The records of all lines; a key that stands there twice counts once, a name may not stand twice."""
    found: dict[str, KeyRecord] = {}
    for number, line in enumerate(lines, 1):
        record = record_of(path, number, line)
        if record is None:
            continue
        if record.name in found and not is_plain(line):
            raise BadInput(f"{path} line {number} names {record.name!r} a second time; names must be unique")
        found[record.name] = record
    return list(found.values())


def record_of(path: Path, number: int, line: str) -> KeyRecord | None:
    """What a line says; None for one without a key. A plain key is named for its digest: where it stands may change."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    if is_plain(line):
        return new_record(f"key-{hashlib.sha256(line.encode()).hexdigest()[:8]}", line)
    try:
        return KeyRecord.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the line"
        raise BadInput(f"{path} line {number} is no key ({where}: {fault['msg']}); mend or remove it") from None


def is_plain(line: str) -> bool:
    return not line.lstrip().startswith("{")


def new_record(
    name: str, key: str, limits: KeyLimits | None = None, *,
    created: datetime | None = None, expires: datetime | None = None,
) -> KeyRecord:  # fmt: skip
    salt = secrets.token_bytes(SALT_BYTES)
    may = (limits or KeyLimits()).model_dump()
    return KeyRecord(
        name=name, salt=salt.hex(), hash=salted(salt, key).hex(), created=created, expires=expires, **may
    )  # fmt: skip


def salted(salt: bytes, key: str) -> bytes:
    return hashlib.sha256(salt + key.encode("utf-8", "surrogatepass")).digest()


def add_key(path: Path, name: str, limits: KeyLimits, expires: datetime | None = None) -> str:
    """Make a key, append its record to the file (made where there is none, readable by its owner alone) and return it.

    Raises UsageError for a name that the file has already or that is none, BadInput for a file that cannot be read,
    Busy while another process changes it.
    """
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        record = new_record(name, key, limits, created=now, expires=expires)
    except ValidationError:
        raise UsageError(
            f"{name!r} cannot be the name of a key; take up to 64 letters, digits and any of . _ - + @"
        ) from None
    with locked(lock_file(path.resolve()), f"the key file {path}"):
        lines = read_lines(path) if path.exists() else []
        if any(known.name == name for known in records_of(path, lines)):
            raise UsageError(f"{path} has a key named {name!r} already; choose another name or revoke that one first")
        write_lines(path, [*lines, record.model_dump_json(exclude_none=True)])
    return key


def revoke_key(path: Path, name: str) -> None:
    """Remove the key from the file, and leave every other line as it is; raises UsageError if there is none."""
    with locked(lock_file(path.resolve()), f"the key file {path}"):
        records = read_keys(path)
        if all(record.name != name for record in records):
            names = ", ".join(record.name for record in records)
            raise UsageError(f"{path} has no key named {name!r}; it has {names}")
        lines = read_lines(path)
        write_lines(path, [line for n, line in enumerate(lines, 1) if not names_key(record_of(path, n, line), name)])


def names_key(record: KeyRecord | None, name: str) -> bool:
    return record is not None and record.name == name


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Replace the file in one step; it keeps its owner and rights, so that a server of another user can go on
    reading it."""
    before = path.stat() if path.exists() else None
    with file_aside(path) as aside:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
            if before is not None:
                with suppress(PermissionError):  # only root gives files away
                    os.fchown(handle, before.st_uid, before.st_gid)
                os.fchmod(handle, stat.S_IMODE(before.st_mode))
