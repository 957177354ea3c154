"""The chat page as people use it: in a real browser, with a real server, on several screens and on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect
from starlette.testclient import TestClient

from edgellm.inference.local_chat import LocalChat
from edgellm.inference.scheduler import Scheduler
from edgellm.language.chat_template import ChatTemplate
from edgellm.language.tokenizer import Part, load_tokenizer
from edgellm.serve.app import create_app
from edgellm.serve.guards import Guards
from edgellm.serve.key_file import new_record
from edgellm.serve.keys import KeyRing
from edgellm.serve.outcome import Outcome
from edgellm.serve.service import Service
from edgellm.serve.shelf import Offer
from live_server import eventually, live_service
from scripted_runtime import ScriptedRuntime, saying
from tiny_checkpoints import TINY_JA

FACTS = Path(__file__).with_name("page_facts.js").read_text(encoding="utf-8")
MARKUP = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
THOUGHT = f"駅の場所を考える。{MARKUP}"
ANSWER = f"""図書館へは、次の順に進みます。

1. 駅の**東口**を出ます。
2. 右に曲がります。
   - 左手は公園です。

| 曜日 | 開館 |
|---|---|
| 月 | 九時 |

```python
print("とても長い一行のプログラムは、画面の幅に収まらないので、横に動かして読むことになります。")
```

`掲示`を見てください。{MARKUP}"""
JAPANESE = re.compile(r"[ぁ-ヿ一-龥]")
SCREENS = [(320, "light"), (320, "dark"), (390, "dark"), (1280, "light"), (1280, "dark")]


@dataclass
class Site:
    url: str
    engine: ScriptedRuntime
    outcomes: list[Outcome]


@contextmanager
def site(*, held_back: bool = False, context: int = 2048, keys: KeyRing | None = None) -> Iterator[Site]:
    tokenizer = load_tokenizer(TINY_JA)
    reply = [
        Part("<|channel|>analysis<|message|>", True), Part(THOUGHT, False),
        Part("<|end|><|start|>assistant<|channel|>final<|message|>", True), Part(ANSWER, False),
        Part("<|return|>", True),
    ]  # fmt: skip
    engine = ScriptedRuntime(
        sequences=4, vocab=tokenizer.vocab_tokens, context=context, step_tokens=512, held_back=held_back,
        rule=saying(tokenizer.encode_parts(reply)),
    )  # fmt: skip
    engine.info = replace(engine.info, adapters=("law",))
    with LocalChat(Scheduler(engine), tokenizer, ChatTemplate.load(TINY_JA)) as chat:
        service = Service([Offer("tiny", lambda _: chat, ("law",)), Offer("other", lambda _: chat)])
        outcomes: list[Outcome] = []
        service.observers.append(outcomes.append)
        with live_service(service, Guards(keys)) as url:
            yield Site(url, engine, outcomes)
            engine.let_go()


@pytest.fixture(scope="module")
def open_site() -> Iterator[Site]:
    with site() as found:
        yield found


@dataclass
class Visit:
    """A browser with the page, which knows nothing of other visits, and what happened meanwhile."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def answers(self) -> Locator:
        return self.page.locator(".answer .text")

    def ask(self, question: str = "図書館は？") -> None:
        self.page.fill("#question", question)
        self.page.keyboard.press("Enter")

    def asked(self, question: str = "図書館は？") -> None:
        """Ask, and wait for the whole answer."""
        before = self.page.get_by_text("回答をコピー").count()
        self.ask(question)
        expect(self.page.get_by_text("回答をコピー")).to_have_count(before + 1)

    def seen(self, width: int, scheme: str, media: str = "screen") -> Any:
        self.page.set_viewport_size(ViewportSize(width=width, height=700))
        self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        self.page.emulate_media(media="print" if media == "print" else "screen")
        return self.page.evaluate(FACTS)


Enter = Callable[[Site], AbstractContextManager[Visit]]


@pytest.fixture
def enter(browser: Browser) -> Enter:
    """Opens the page; at the end nothing was asked of anyone but its server, and the browser had no complaint."""

    @contextmanager
    def entering(site: Site) -> Iterator[Visit]:
        page = browser.new_page()
        page.set_default_timeout(20_000)
        visit = Visit(page)
        page.on("request", lambda request: visit.requests.append(request.url))
        page.on("console", lambda message: visit.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.goto(site.url)
        yield visit
        own = (f"{site.url}/", "data:")
        assert [url for url in visit.requests if not url.startswith(own)] == []
        # Chromium itself reports every answer of 400 and more, also where the page expects it.
        assert [each for each in visit.complaints if "the server responded with a status of" not in each] == []
        page.close()

    return entering


@pytest.fixture
def visit(enter: Enter, open_site: Site) -> Iterator[Visit]:
    with enter(open_site) as found:
        yield found


@pytest.fixture
def slow(enter: Enter) -> Iterator[tuple[Visit, Site]]:
    with site(held_back=True) as held, enter(held) as found:
        yield found, held


def test_an_answer_is_shown_in_its_form_with_its_reasoning_folded(visit: Visit) -> None:
    visit.asked()
    page, text = visit.page, visit.answers
    assert text.locator("ol > li").count() == 2
    assert text.locator("ol ul > li").inner_text() == "左手は公園です。"
    assert text.locator("strong").inner_text() == "東口"
    assert text.locator("th, td").all_inner_texts() == ["曜日", "開館", "月", "九時"]
    assert text.locator("pre").inner_text().startswith('print("とても')
    assert not page.get_by_text("駅の場所を考える").is_visible()
    page.get_by_text("思考過程").click()
    assert page.get_by_text("駅の場所を考える").is_visible()
    assert re.search(r"\d+ トークン、[\d.]+ 秒", page.inner_text(".actions"))


def test_markup_of_the_model_stays_text(visit: Visit) -> None:
    visit.asked(f"<b>太字</b>{MARKUP}")
    page = visit.page
    assert MARKUP in visit.answers.inner_text()
    assert MARKUP in page.locator(".reasoning div").text_content()  # type: ignore[operator]
    assert page.inner_text(".question") == f"<b>太字</b>{MARKUP}"
    assert page.locator("#conversation :is(img, script, b)").count() == 0
    assert page.title() == "チャット — edgellm"


def test_the_policy_of_the_page_forbids_what_is_not_in_it(visit: Visit) -> None:
    slip = """() => {
        const script = document.createElement("script");
        try { script.textContent = "document.title = 'run'"; document.body.append(script); } catch { }
        try { document.body.insertAdjacentHTML("beforeend", "<i>run</i>"); } catch { }
        document.body.append(Object.assign(new Image(), { src: "picture.png" }));
    }"""
    visit.page.evaluate(slip)
    eventually(lambda: len(visit.complaints) >= 3)
    assert visit.page.title() != "run"
    assert visit.page.locator("i").count() == 0
    assert all("Content Security Policy" in each or "Trusted" in each for each in visit.complaints)
    visit.complaints.clear()
    visit.requests.clear()  # the tool tells of the picture, which the browser did not ask for


def test_a_conversation_goes_on_and_a_new_one_forgets_it(visit: Visit, open_site: Site) -> None:
    visit.asked("一つ目")
    visit.asked("二つ目")
    eventually(lambda: open_site.outcomes[-1].prompt.endswith("二つ目"))
    assert open_site.outcomes[-1].prompt == f"一つ目\n{ANSWER}\n二つ目"
    visit.page.get_by_role("button", name="新しい会話").click()
    assert visit.page.locator("article").count() == 0
    visit.asked("三つ目")
    assert open_site.outcomes[-1].prompt == "三つ目"


def test_the_model_its_adapter_and_the_settings_are_sent(visit: Visit, open_site: Site) -> None:
    page = visit.page
    expect(page.get_by_label("モデル").locator("option")).to_have_text(["tiny", "tiny:law", "other"])
    page.get_by_label("モデル").select_option("tiny:law")
    page.get_by_text("設定", exact=True).click()
    page.get_by_label("システムプロンプト").fill("短く答える。")
    page.get_by_label("温度").fill("0.2")
    page.get_by_label("最大トークン数").fill("120")
    with page.expect_request("**/v1/chat/completions") as sent:
        visit.asked()
    body = sent.value.post_data_json
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny:law", 0.2, 120)
    assert (open_site.outcomes[-1].model, open_site.outcomes[-1].prompt) == ("tiny:law", "短く答える。\n図書館は？")
    expect(page.locator(".note")).to_contain_text("最大トークン数に達したため")
    page.get_by_label("モデル").select_option("other")
    visit.asked()
    assert open_site.outcomes[-1].model == "other"
    expect(page.locator("article").last).to_contain_text("回答（other）")


def test_an_impossible_setting_is_not_sent(visit: Visit) -> None:
    visit.page.get_by_text("設定", exact=True).click()
    visit.page.get_by_label("温度").fill("3")
    visit.ask()
    assert visit.page.locator("article").count() == 0
    assert visit.page.evaluate("document.activeElement.id") == "temperature"


def test_a_stream_grows_and_escape_stops_it(slow: tuple[Visit, Site]) -> None:
    visit, held = slow
    visit.ask()
    expect(visit.page.locator(".note")).to_have_text("回答を待っています…")
    held.engine.allow(120)
    expect(visit.answers).to_contain_text("図書館へは")
    assert visit.page.get_by_role("button", name="停止").is_visible()
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator(".note")).to_contain_text("停止しました。")
    assert visit.page.get_by_role("button", name="送信").is_visible()
    eventually(lambda: len(held.outcomes) == 1)
    assert held.outcomes[0].ending == "abandoned"
    held.engine.let_go()
    visit.asked("続けて")
    assert "図書館へは" in held.outcomes[-1].prompt


def test_the_button_stops_too_but_not_by_a_double_click(slow: tuple[Visit, Site]) -> None:
    visit, _ = slow
    visit.page.fill("#question", "図書館は？")
    visit.page.locator("#send").dblclick()
    expect(visit.page.locator(".note")).to_have_text("回答を待っています…")
    visit.page.get_by_role("button", name="停止").click()
    expect(visit.page.locator(".note")).to_contain_text("停止しました。")


def test_finished_sentences_are_read_out_once_and_the_text_itself_is_no_live_region(slow: tuple[Visit, Site]) -> None:
    visit, held = slow
    visit.ask()
    held.engine.allow(120)
    spoken = visit.page.get_by_role("log").locator("p")
    expect(spoken.first).to_contain_text("図書館へは、次の順に進みます。")
    held.engine.let_go()
    expect(visit.page.get_by_role("status")).to_have_text("回答が終わりました。")
    assert "".join(spoken.all_text_contents()) == ANSWER
    assert visit.page.locator("article[aria-live], article [aria-live]").count() == 0


def test_a_key_is_asked_for_until_it_is_right_and_kept_in_the_tab_only(enter: Enter) -> None:
    with site(keys=KeyRing([new_record("staff", "right-key")])) as locked, enter(locked) as visit:
        page, dialog = visit.page, visit.page.get_by_role("dialog")
        expect(dialog).to_contain_text("API キーが必要です")
        for wrong in ("wrong-key", "ｒｉｇｈｔ－ｋｅｙ"):
            dialog.get_by_label("キー", exact=True).fill(wrong)
            page.keyboard.press("Enter")
            expect(dialog).to_contain_text("このキーは使えませんでした")
        page.keyboard.press("Escape")
        expect(page.locator("#start-fault")).to_contain_text("API キーがないか、正しくありません。")
        page.get_by_role("button", name="もう一度試す").click()
        dialog.get_by_label("キー", exact=True).fill("right-key")
        dialog.get_by_role("button", name="使う").click()
        expect(page.get_by_label("モデル").locator("option").first).to_have_text("tiny")
        visit.asked()
        assert locked.outcomes[-1].caller == "staff"
        assert page.evaluate("Object.values(sessionStorage)") == ["right-key"]
        assert "right-key" not in page.evaluate("JSON.stringify(localStorage) + document.cookie")


def test_errors_are_told_in_japanese_beside_what_the_server_said(enter: Enter) -> None:
    with site(context=64) as narrow, enter(narrow) as visit:
        visit.ask("とても長い質問です。" * 40)
        expect(visit.page.locator(".fault")).to_contain_text("会話が長すぎて")
        expect(visit.page.locator(".fault [lang=en]")).to_contain_text("too many")
        visit.page.get_by_role("button", name="新しい会話").click()
        visit.page.route("**/v1/chat/completions", lambda route: route.abort())
        visit.ask()
        expect(visit.page.locator(".fault")).to_contain_text("サーバーに接続できません。")
        visit.page.unroute("**/v1/chat/completions")
        visit.page.get_by_role("button", name="もう一度試す").click()
        expect(visit.page.locator(".note")).to_contain_text("最大トークン数に達した")  # of a narrow context
        assert visit.page.locator("article").count() == 1
        visit.complaints.clear()  # the route that was cut


def test_everything_can_be_done_by_keyboard(visit: Visit) -> None:
    page, focused = visit.page, "document.activeElement.id || document.activeElement.parentElement.id"
    expect(page.locator("option").first).to_be_attached()
    assert page.evaluate(focused) == "question"
    page.keyboard.type("一行目")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("二行目")
    page.keyboard.press("Enter")
    expect(page.locator(".actions button")).to_be_visible()
    assert page.inner_text(".question") == "一行目\n二行目"
    assert page.evaluate(focused) == "question"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "send"
    page.focus("#model")
    order = ["model"]
    while order[-1] != "question":
        page.keyboard.press("Tab")
        order.append(page.evaluate(f"{focused} || document.activeElement.className || document.activeElement.tagName"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == ["model", "fresh", "language", "settings", "SUMMARY", "wide", "PRE", "BUTTON", "question"]
    page.locator("#settings summary").focus()
    page.keyboard.press("Enter")
    assert page.get_by_label("システムプロンプト").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_label("システムプロンプト").is_visible()
    assert page.evaluate(focused) == "settings"


def test_enter_that_belongs_to_an_input_method_sends_nothing(visit: Visit) -> None:
    page = visit.page
    expect(page.locator("option").first).to_be_attached()
    page.focus("#question")
    tool = page.context.new_cdp_session(page)
    tool.send("Input.imeSetComposition", {"text": "としょかん", "selectionStart": 5, "selectionEnd": 5})
    page.evaluate(
        "() => addEventListener('keydown', e => { composing = e.isComposing }, { once: true, capture: true })"
    )
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
    tool.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **enter})
    tool.send("Input.dispatchKeyEvent", {"type": "keyUp", **enter})
    assert page.evaluate("composing")
    assert page.locator("article").count() == 0
    tool.send("Input.insertText", {"text": "図書館"})
    assert page.input_value("#question") == "図書館"
    page.keyboard.press("Enter")
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator(".actions button")).to_be_visible()


def test_an_answer_is_copied_as_the_model_wrote_it(visit: Visit) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.asked()
    visit.page.get_by_role("button", name="回答をコピー").click()
    expect(visit.page.locator(".actions button")).to_have_text("コピーしました")
    assert visit.page.evaluate("navigator.clipboard.readText()") == ANSWER
    visit.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as over plain HTTP
    expect(visit.page.locator(".actions button")).to_have_text("回答をコピー")
    visit.page.get_by_role("button", name="回答をコピー").click()
    expect(visit.page.locator(".actions button")).to_have_text("コピーしました")


@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_screen_shows_it_whole_and_legibly(visit: Visit, language: str) -> None:
    visit.asked()
    if language == "en":
        visit.page.click("#language")
    visit.page.click(".reasoning summary")
    visit.page.click("#settings > summary")
    for width, scheme in SCREENS:
        seen = visit.seen(width, scheme)
        assert seen["width"] <= width
        assert set(seen["cut"]) <= {"PRE", "wide", "model"}, (width, seen["cut"])
        assert [t for t in seen["texts"] if t["contrast"] < 4.5 or t["pixels"] < 13] == []
        fields = visit.page.locator("input, textarea, select")
        assert fields.evaluate_all("all => all.every(e => parseFloat(getComputedStyle(e).fontSize) >= 16)")
        dark = visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 27)"
        assert dark is (scheme == "dark")


def test_the_colours_can_be_chosen_and_are_remembered(visit: Visit) -> None:
    visit.page.emulate_media(color_scheme="light")
    visit.page.click("#settings > summary")
    visit.page.get_by_label("配色").select_option("dark")
    assert visit.page.get_attribute("html", "data-theme") == "dark"
    visit.page.reload()
    assert visit.page.get_attribute("html", "data-theme") == "dark"


def test_the_english_page_leaves_no_word_in_japanese(visit: Visit) -> None:
    visit.page.click("#language")
    visit.page.click("#settings > summary")
    texts = visit.seen(1280, "light")["texts"]
    assert [each["text"] for each in texts if JAPANESE.search(each["text"])] == ["日本語"]
    attributes = "[...document.querySelectorAll('[placeholder]')].map(e => e.placeholder).join()"
    assert not JAPANESE.search(visit.page.evaluate(attributes) + visit.page.title())
    visit.page.reload()
    assert visit.page.get_attribute("html", "lang") == "en"


def test_paper_shows_the_conversation_and_nothing_else_even_from_a_dark_screen(visit: Visit) -> None:
    visit.asked()
    seen = visit.seen(672, "dark", "print")
    said = " ".join(each["text"] for each in seen["texts"])
    assert "図書館は？" in said
    assert "図書館へは" in said
    assert not any(word in said for word in ("送信", "設定", "新しい会話", "思考過程", "コピー", "Enter"))
    assert seen["width"] <= 672
    assert seen["cut"] == []
    assert [each for each in seen["texts"] if each["contrast"] < 4.5] == []
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(("page", "status"), [(True, 200), (False, 404)])
def test_the_page_can_be_left_out_and_needs_no_key(page: bool, status: int) -> None:
    def never(_: object) -> LocalChat:
        raise AssertionError("the page needs no model")

    guards = Guards(KeyRing([new_record("staff", "right-key")]))
    client = TestClient(create_app(Service([Offer("tiny", never)]), guards, page=page))
    assert client.get("/").status_code == status
