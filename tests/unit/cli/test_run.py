"""The small chat of `edgellm run`, with the keyboard and the model scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from edgellm.cli.run import converse
from edgellm.inference.chat import Delta, Message, SamplingOptions


class Interrupted:
    """A chat whose first answer is interrupted by Ctrl-C; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []
        self.ended = 0

    def stream(self, messages: list[Message], *_: object) -> Iterator[Delta]:
        self.asked.append(list(messages))
        try:
            yield Delta(content=f"答え{len(self.asked)}")
            if len(self.asked) == 1:
                raise KeyboardInterrupt
            yield Delta(finish_reason="stop")
        finally:
            self.ended += 1


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str | type[BaseException]]], None]:
    def script(lines: list[str | type[BaseException]]) -> None:
        rest = iter(lines)

        def read(_: str) -> str:
            line = next(rest)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr("builtins.input", read)

    return script


@pytest.mark.parametrize("last", ["/quit", EOFError, KeyboardInterrupt])
def test_ctrl_c_stops_an_answer_and_the_conversation_goes_on_with_what_was_said(
    typed: Callable[..., None], last: str | type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    typed(["一", "", "二", last])
    chat = Interrupted()
    converse(chat, [Message("system", "短く")], SamplingOptions(), None)  # type: ignore[arg-type]
    assert [message.content for message in chat.asked[-1]] == ["短く", "一", "答え1", "二"]
    assert [message.role for message in chat.asked[-1]] == ["system", "user", "assistant", "user"]
    assert chat.ended == 2
    out, err = capsys.readouterr()
    assert out == "答え1答え2\n"
    assert "(stopped)" in err
