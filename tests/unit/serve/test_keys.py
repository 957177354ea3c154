"""Keys: what a file may hold, how it is changed, and whom the gate lets in."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from edgellm.errors import BadInput, Busy, UsageError
from edgellm.records.keys import KeyLimits
from edgellm.serve.caller import caller_in
from edgellm.serve.key_file import add_key, new_record, read_keys, revoke_key
from edgellm.serve.keys import KeyGate, KeyRing, reload_on_hangup

NO_LIMITS = KeyLimits()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


def test_a_plain_file_holds_one_key_a_line_with_comments_and_empty_lines(path: Path) -> None:
    path.write_text("# staff\nabc\n\n  def  \nabc\n")
    ring = KeyRing(read_keys(path))
    found = [ring.find(key) for key in ("abc", "def", "# staff", "", "ab")]
    assert [record is not None for record in found] == [True, True, False, False, False]


def test_a_plain_key_keeps_its_name_wherever_it_stands(path: Path) -> None:
    path.write_text("abc\ndef\n")
    before = {record.name for record in read_keys(path)}
    path.write_text("def\nabc\n")
    assert {record.name for record in read_keys(path)} == before


@pytest.mark.parametrize("content", [b"", b"# none\n", b"\xff\xfe"])
def test_a_file_without_a_key_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BadInput, match="edgellm key new"):
        read_keys(path)


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="no key file"):
        read_keys(path)


def test_a_new_key_is_found_and_stands_in_the_file_only_as_a_salted_hash(path: Path) -> None:
    key = add_key(path, "taro", KeyLimits(requests_per_minute=5))
    record = KeyRing(read_keys(path)).find(key)
    assert record is not None
    assert (record.name, record.requests_per_minute, record.concurrent_requests) == ("taro", 5, None)
    assert key not in path.read_text()
    line = json.loads(path.read_text())
    assert line["hash"] == hashlib.sha256(bytes.fromhex(line["salt"]) + key.encode()).hexdigest()


def test_only_the_owner_may_read_a_new_file_and_rights_that_were_given_stay(path: Path) -> None:
    add_key(path, "a", NO_LIMITS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    add_key(path, "b", NO_LIMITS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_keys_that_are_made_at_once_are_all_kept(path: Path) -> None:
    def add(n: int) -> str:
        while True:
            with suppress(Busy):  # another one holds the file for longer than it waits
                return add_key(path, f"user-{n}", NO_LIMITS)

    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(add, range(12)))
    ring = KeyRing(read_keys(path))
    assert [getattr(ring.find(key), "name", None) for key in keys] == [f"user-{n}" for n in range(12)]


@pytest.mark.parametrize("name", ["taro", "a b", "", "x" * 65, "a\nb"])
def test_a_name_that_is_taken_or_no_name_is_refused_and_changes_nothing(path: Path, name: str) -> None:
    add_key(path, "taro", NO_LIMITS)
    before = path.read_bytes()
    with pytest.raises(UsageError):
        add_key(path, name, NO_LIMITS)
    assert path.read_bytes() == before


def test_a_revoked_key_is_gone_and_every_other_line_stays(path: Path) -> None:
    path.write_text("# staff\nplain\n")
    gone, kept = add_key(path, "gone", NO_LIMITS), add_key(path, "山田", NO_LIMITS)
    revoke_key(path, "gone")
    ring = KeyRing(read_keys(path))
    assert ring.find(gone) is None
    assert ring.find(kept)
    assert ring.find("plain")
    assert path.read_text().startswith("# staff\nplain\n")
    with pytest.raises(UsageError, match="has no key named 'gone'"):
        revoke_key(path, "gone")


@pytest.mark.parametrize(
    "line", ['{"name": "a"}', '{"name": "a", "salt": "0g", "hash": "00"}', "{", '{"name": "a", "sal": 1}']
)
def test_a_line_that_is_no_key_is_named(path: Path, line: str) -> None:
    path.write_text(f"plain\n{line}\n")
    with pytest.raises(BadInput, match="line 2"):
        read_keys(path)


def test_two_records_of_one_name_are_refused(path: Path) -> None:
    path.write_text("".join(new_record("a", key).model_dump_json() + "\n" for key in ("x", "y")))
    with pytest.raises(BadInput, match=r"line 2 .*'a' a second time"):
        read_keys(path)


@pytest.fixture
def _hangups() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hangups")
def test_sighup_reads_the_keys_again_and_a_broken_file_keeps_the_old_ones(path: Path) -> None:
    said: list[str] = []
    old = add_key(path, "old", NO_LIMITS)
    ring = KeyRing(read_keys(path))
    reload_on_hangup(ring, path, said.append)
    new = add_key(path, "new", NO_LIMITS)
    assert ring.find(new) is None
    os.kill(os.getpid(), signal.SIGHUP)
    assert ring.find(new)
    assert said == [f"read 2 keys from {path}"]
    path.write_text("{broken\n")
    os.kill(os.getpid(), signal.SIGHUP)
    assert ring.find(old)
    assert ring.find(new)
    assert "the keys stay as they were" in said[1]


def ask(ring: KeyRing, path: str = "/v1/models", **headers: str) -> tuple[int, dict[str, str], str]:
    """(status, headers, name of the caller that the application behind the gate saw)."""
    sent: list[Message] = []
    callers: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        callers.append(caller_in(scope).name)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        raise AssertionError("the gate must not read the body")

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    asyncio.run(KeyGate(app, ring)({"type": "http", "path": path, "headers": raw}, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, "".join(callers)


def test_the_gate_says_whose_key_it_is() -> None:
    ring = KeyRing([new_record("taro", "secret"), new_record("hanako", "other")])
    assert ask(ring, authorization="Bearer secret")[::2] == (200, "taro")
    assert ask(ring, authorization="bearer  other")[::2] == (200, "hanako")
    assert ask(ring, x_api_key="other")[::2] == (200, "hanako")


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}, {"authorization": "Bearer"},
     {"x_api_key": "secret "}, {"authorization": "secret"}, {"x_api_key": "\xe9"}],
)  # fmt: skip
def test_the_gate_refuses_everybody_else(headers: dict[str, str]) -> None:
    status, found, caller = ask(KeyRing([new_record("taro", "secret")]), **headers)
    assert (status, caller) == (401, "")
    assert found["www-authenticate"] == "Bearer"


def test_health_and_the_page_are_open_and_metrics_are_not() -> None:
    ring = KeyRing([new_record("taro", "secret")])
    assert [ask(ring, path)[0] for path in ("/health", "/", "/metrics", "/openapi.json")] == [200, 200, 401, 401]


def test_a_key_is_refused_from_the_moment_when_it_expires() -> None:
    now = datetime.now(UTC)
    ring = KeyRing(
        [new_record("past", "a", expires=now - timedelta(seconds=1)),
         new_record("future", "b", expires=now + timedelta(days=1))]
    )  # fmt: skip
    assert ask(ring, x_api_key="a")[0] == 401
    assert ask(ring, x_api_key="b")[::2] == (200, "future")
