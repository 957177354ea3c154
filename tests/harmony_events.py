"""Events of a reply parser, made comparable."""

from __future__ import annotations

from dataclasses import replace

from edgellm.language.harmony import Content, Event, Reasoning, ToolArguments


def joined(found: list[Event]) -> list[Event]:
    """Events with neighbouring text of one kind put together: how it was dealt out is no part of the meaning."""
    out: list[Event] = []
    for event in found:
        last = out[-1] if out else None
        if isinstance(event, (Reasoning, Content, ToolArguments)) and type(event) is type(last):
            assert isinstance(last, (Reasoning, Content, ToolArguments))
            out[-1] = replace(last, text=last.text + event.text)
        else:
            out.append(event)
    return out
