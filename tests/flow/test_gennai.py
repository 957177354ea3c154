"""The adapter for 源内 over a real socket, asked as the platform asks: at once, later, with files, and wrongly."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from docx import Document
from pypdf import PdfWriter

from edgellm.inference.chat import Message
from edgellm.inference.generation import Generation
from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Part, load_tokenizer
from edgellm.records.keys import KeyLimits
from edgellm.serve.gennai import CUT_SHORT, GennaiOptions
from edgellm.serve.guards import Guards
from edgellm.serve.key_file import new_record
from edgellm.serve.keys import KeyRing
from edgellm.serve.outcome import Outcome
from edgellm.serve.service import Service
from edgellm.serve.shelf import Offer
from live_server import eventually, live_service
from scripted_runtime import ScriptedRuntime, saying
from tiny_checkpoints import TINY_JA

REPLY = (
    "<|channel|>analysis<|message|>考える<|end|><|start|>assistant<|channel|>final<|message|>はい、そうです。<|return|>"
)
ANSWER = "はい、そうです。"
AT_ONCE, PROMISING = GennaiOptions(), GennaiOptions(patience_s=0.05)
TEXT = "四月一日から、窓口の受付時間は九時から十七時までです。①～③の書類を㈱山田に送ってください。"


class Office:
    """A live server whose model gives one answer, the outcomes of its requests, and clients with two keys."""

    def __init__(self, url: str, chat: LocalChat, engine: ScriptedRuntime, outcomes: list[Outcome]) -> None:
        self.url, self.chat, self.engine, self.outcomes = url, chat, engine, outcomes
        self.http = self.client("first")

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"x-api-key": key}, trust_env=False, timeout=30)

    def ask(self, question: str = "はい？", **more: object) -> httpx.Response:
        return self.http.post("/invoke", json={"inputs": {"question": question} | more})

    def tokens(self, *turns: tuple[str, str]) -> int:
        return len(self.chat.prompt([Message(*turn) for turn in turns]))


@contextmanager
def office(options: GennaiOptions, *, held_back: bool = False, context: int = 512) -> Iterator[Office]:
    tokenizer = load_tokenizer(TINY_JA)
    script = saying(tokenizer.encode_parts([Part(REPLY, trusted=True)]))
    engine = ScriptedRuntime(
        sequences=2, vocab=tokenizer.vocab_tokens, context=context, step_tokens=256, held_back=held_back, rule=script
    )
    limits = KeyLimits(concurrent_requests=1)
    ring = KeyRing([new_record("first", "first"), new_record("one-at-a-time", "second", limits)])
    with LocalChat(Scheduler(engine), tokenizer, ChatTemplate.load(TINY_JA)) as chat:
        service = Service([Offer("tiny", lambda _: chat)])
        outcomes: list[Outcome] = []
        service.observers.append(outcomes.append)
        with live_service(service, Guards(ring), gennai=options) as url:
            found = Office(url, chat, engine, outcomes)
            with found.http:
                yield found
                engine.let_go()


@pytest.fixture(scope="module")
def quick() -> Iterator[Office]:
    with office(AT_ONCE) as found:
        yield found


@pytest.fixture
def slow() -> Iterator[Office]:
    with office(PROMISING, held_back=True) as found:
        yield found


def file(name: str, data: bytes, field: str = "content") -> dict[str, Any]:
    return {"filename": name, field: base64.b64encode(data).decode()}


def group(*files: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": "documents", "files": list(files)}]


def error_of(reply: httpx.Response) -> str:
    assert list(reply.json()) == ["error"]
    return str(reply.json()["error"])


def finished(office: Office, url: str) -> dict[str, Any]:
    def status() -> Any:
        return office.http.get(url).json()

    eventually(lambda: status()["status"] in ("COMPLETED", "ERROR"))
    return dict(status())


def test_a_quick_answer_comes_in_one_reply_with_what_it_took(quick: Office) -> None:
    reply = quick.ask("駅はどこですか")
    assert reply.status_code == 200
    (usage,) = reply.json()["usageMetadata"]
    tokens = usage["tokens"]
    assert reply.json()["outputs"] == ANSWER
    assert (usage["modelVersion"], usage["requestCount"]) == ("tiny", 1)
    assert tokens["inputTokens"] == quick.tokens(("user", "駅はどこですか"))
    assert tokens["totalTokens"] == tokens["inputTokens"] + tokens["outputTokens"] > tokens["inputTokens"]


@pytest.mark.parametrize("as_text", [False, True])
def test_earlier_turns_go_before_the_question(quick: Office, as_text: bool) -> None:
    history = [{"role": "user", "content": "駅は？"}, {"role": "assistant", "content": "東です。"}]
    reply = quick.ask("図書館は？", conversation_history=json.dumps(history) if as_text else history)
    expected = quick.tokens(("user", "駅は？"), ("assistant", "東です。"), ("user", "図書館は？"))
    assert reply.json()["usageMetadata"][0]["tokens"]["inputTokens"] == expected
    assert quick.outcomes[-1].prompt == "駅は？\n東です。\n図書館は？"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp932", "euc_jis_2004"])
@pytest.mark.parametrize("field", ["content", "contents"])
def test_text_files_stand_before_the_question_whatever_their_encoding(quick: Office, encoding: str, field: str) -> None:
    text = TEXT if encoding != "euc_jis_2004" else TEXT.translate(str.maketrans({"①": "1", "③": "3", "㈱": "（株）"}))
    text = text.replace("～", "から")  # the encodings do not agree on the wave dash
    reply = quick.ask("要約して", files=group(file("通知.txt", text.encode(encoding), field)))
    assert reply.status_code == 200, reply.text
    assert quick.outcomes[-1].prompt == f"【添付ファイル：通知.txt】\n{text}\n\n【質問】\n要約して"


def test_word_files_give_paragraphs_and_tables_in_their_order(quick: Office) -> None:
    document = Document()
    document.add_paragraph("受付時間の案内")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "月曜日", "九時"
    document.add_paragraph("以上")
    written = io.BytesIO()
    document.save(written)
    reply = quick.ask(files=group(file("案内.docx", written.getvalue())))
    assert reply.status_code == 200, reply.text
    assert "受付時間の案内\n月曜日 | 九時\n以上" in quick.outcomes[-1].prompt


def test_pdf_files_give_the_text_of_their_pages(quick: Office) -> None:
    reply = quick.ask(files=group(file("notice.pdf", one_page("Open from 9 to 17"))))
    assert reply.status_code == 200, reply.text
    assert "Open from 9 to 17" in quick.outcomes[-1].prompt


def one_page(text: str) -> bytes:
    """A PDF that shows one line in Helvetica."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, each)
    begin = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % begin)


def encrypted_pdf() -> bytes:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def archive(name: str, size: int) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, b" " * size)
    return written.getvalue()


WRONG_FILES = {
    "what no encoding gives": (bytes(range(256)), "UTF-8, Shift_JIS or EUC-JP"),
    "Latin-1, which is valid CP932": ("déjà vu, élève, ça".encode("latin-1"), "UTF-8, Shift_JIS or EUC-JP"),
    "a PDF that ends early": (one_page("text")[:60], "cannot be read"),
    "a locked PDF": (encrypted_pdf(), "encrypted"),
    "a PDF without text": (one_page(""), "no text"),
    "another kind of archive": (archive("readme.txt", 10), "no Word file"),
    "an archive that unpacks to far more": (archive("word/document.xml", 65 << 20), "unpacks to more than 64 MiB"),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_file_that_cannot_be_read_is_refused_by_name(quick: Office, kind: str) -> None:
    data, said = WRONG_FILES[kind]
    reply = quick.ask(files=group(file("書類", data)))
    assert reply.status_code == 400
    assert "'書類'" in error_of(reply)
    assert said in error_of(reply)


WRONG_BODIES: list[tuple[object, str]] = [
    (b"{", "JSON"),
    ({"inputs": {}}, "inputs.question"),
    ({"inputs": {"question": ""}}, "inputs.question"),
    ({"inputs": {"question": "a", "files": [{"files": [{"filename": "a"}]}]}}, "inputs.files.0.files.0"),
    ({"inputs": {"question": "a", "files": group({"filename": "a.txt", "content": "あ"})}}, "base64"),
    ({"inputs": {"question": "a", "files": group(*[file("a", b"a")] * 33)}}, "33 files"),
    ({"inputs": {"question": "a", "conversation_history": "駅は？"}}, "conversation_history"),
    ({"inputs": {"question": "a", "conversation_history": [{"role": "king", "content": ""}]}}, "role"),
]


@pytest.mark.parametrize(("body", "said"), WRONG_BODIES)
def test_a_wrong_request_is_refused_in_one_sentence(quick: Office, body: object, said: str) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = quick.http.post("/invoke", content=sent)
    assert reply.status_code == 400
    assert said in error_of(reply)


def test_a_file_that_is_too_long_is_refused_with_the_number_of_tokens_too_many(quick: Office) -> None:
    reply = quick.ask(files=group(file("長い.txt", (TEXT * 40).encode())))
    prompt = f"【添付ファイル：長い.txt】\n{TEXT * 40}\n\n【質問】\nはい？"
    too_many = quick.tokens(("user", prompt)) - 512 + 1
    assert reply.status_code == 400
    assert f"{too_many} too many" in error_of(reply)


def test_an_answer_that_fills_the_context_says_that_it_was_cut(quick: Office) -> None:
    question = "駅"
    while quick.tokens(("user", question)) < 500:
        question += "駅"
    assert quick.ask(question).json()["outputs"].endswith(CUT_SHORT)


def test_the_door_speaks_the_same_shape(quick: Office) -> None:
    with httpx.Client(base_url=quick.url, trust_env=False) as stranger:
        refused = [stranger.post("/invoke", json={}), stranger.get("/status/1")]
        bearer = stranger.get("/status/1", headers={"Authorization": "Bearer first"})
    assert [reply.status_code for reply in refused] == [401, 401]
    assert all("API key" in error_of(reply) for reply in refused)
    assert (bearer.status_code, error_of(bearer)) == (404, error_of(quick.http.get("/status/1")))
    assert quick.http.get("/invoke").status_code == 405
    assert "GET /invoke" in error_of(quick.http.get("/invoke"))
    assert isinstance(quick.http.get("/v1/models/none").json()["error"], dict)  # elsewhere OpenAI's


def test_the_person_behind_a_key_is_told_apart(quick: Office) -> None:
    quick.http.post("/invoke", json={"inputs": {"question": "はい？"}}, headers={"x-user-id": "a-17"})
    assert (quick.outcomes[-1].caller, quick.outcomes[-1].person) == ("first", "a-17")
    refused = quick.http.post("/invoke", json={"inputs": {"question": "はい？"}}, headers={"x-user-id": "a" * 257})
    assert (refused.status_code, "x-user-id" in error_of(refused)) == (400, True)


def test_a_slow_answer_is_promised_and_polled(slow: Office) -> None:
    reply = slow.ask("駅は？")
    told = reply.json()
    assert reply.status_code == 202
    assert (told["status"], told["status_url"]) == ("PENDING", f"/status/{told['request_id']}")
    before = slow.http.get(told["status_url"]).json()
    assert (before["status"], before["outputs"]) == ("PENDING", "")
    assert slow.outcomes == []

    slow.engine.allow(14)
    eventually(lambda: slow.http.get(told["status_url"]).json()["outputs"] != "")
    halfway = slow.http.get(told["status_url"]).json()
    assert halfway["status"] == "IN_PROGRESS"
    assert ANSWER.startswith(halfway["outputs"])

    slow.engine.let_go()
    after = finished(slow, told["status_url"])
    assert (after["status"], after["outputs"], after["request_id"]) == ("COMPLETED", ANSWER, told["request_id"])
    assert before["created_at"] == after["created_at"] < after["updated_at"]
    assert after["usageMetadata"][0]["tokens"]["inputTokens"] == slow.tokens(("user", "駅は？"))
    eventually(lambda: len(slow.outcomes) == 1)
    assert (slow.outcomes[0].ending, slow.outcomes[0].answer) == ("answered", ANSWER)


def test_a_promise_is_kept_when_the_client_hangs_up(slow: Office) -> None:
    with slow.client("first") as client:
        url = client.post("/invoke", json={"inputs": {"question": "駅は？"}}).json()["status_url"]
    slow.engine.let_go()
    assert finished(slow, url)["outputs"] == ANSWER


def test_a_client_that_hangs_up_before_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with office(AT_ONCE, held_back=True) as waiting:
        begun: list[Generation] = []
        submit = waiting.chat.scheduler.submit
        monkeypatch.setattr(waiting.chat.scheduler, "submit", lambda *each: begun.append(submit(*each)) or begun[-1])
        with waiting.client("first") as client, pytest.raises(httpx.ReadTimeout):
            client.post("/invoke", json={"inputs": {"question": "駅は？"}}, timeout=0.3)
        eventually(lambda: begun[0].cancelled)
        waiting.engine.let_go()
        eventually(lambda: len(waiting.outcomes) == 1)
        assert waiting.outcomes[0].ending == "abandoned"


def test_a_failure_after_the_promise_is_told_by_its_status(slow: Office) -> None:
    url = slow.ask().json()["status_url"]
    slow.engine.failures = 9
    slow.engine.let_go()
    after = finished(slow, url)
    assert after["status"] == "ERROR"
    assert "the script says so" in after["error"]["details"]
    eventually(lambda: len(slow.outcomes) == 1)
    assert slow.outcomes[0].ending == "failed"


def test_a_promise_counts_against_its_keys_limits_until_it_is_kept(slow: Office) -> None:
    body = {"inputs": {"question": "駅は？"}}
    with slow.client("second") as client:
        url = client.post("/invoke", json=body).json()["status_url"]
        refused = client.post("/invoke", json=body)
        assert (refused.status_code, "at once" in error_of(refused)) == (429, True)
        assert refused.headers["Retry-After"].isdigit()
        assert slow.http.get(url).status_code == 404  # another key's
        slow.engine.let_go()
        eventually(lambda: client.get(url).json()["status"] == "COMPLETED")
        eventually(lambda: client.post("/invoke", json=body).status_code in (200, 202))
