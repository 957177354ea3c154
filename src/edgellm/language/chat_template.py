"""Messages to prompt ids by a model's chat template, with everything that the caller wrote untrusted.

A template comes with the weights and may be hostile, so it runs in jinja2's immutable sandbox. What it
renders mixes its own words with the caller's; before rendering, names of special tokens in the caller's words
are replaced by covers that nobody can guess, and afterwards put back as text that is encoded without special
tokens. All else reaches the template unchanged, so prompts without such names are exactly the reference's.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgellm.errors import BadInput, UsageError
from edgellm.language.special_tokens import CONFIG, SpecialTokens, read_json
from edgellm.language.tokenizer import Part

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer

ROLE = re.compile(r"[\w.-]+")
# What a template raises that was written for other messages.
FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class ChatTemplate:
    """A compiled chat template. `now` is the clock behind `strftime_now`."""

    def __init__(self, text: str, now: Callable[[], datetime] = datetime.now) -> None:
        """Raises BadInput if `text` is no template."""
        self.text = text
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: now().strftime(form)
        try:
            self._template = environment.from_string(text)
        except (jinja2.TemplateError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise BadInput(f"the chat template cannot be read ({reason}); fetch the model's files again") from error

    @classmethod
    def load(cls, folder: Path) -> ChatTemplate | None:
        """The template of a checkpoint folder: chat_template.jinja, or else the one in tokenizer_config.json;
        None where there is none (a base model). Raises BadInput, with the file, for one that is no template."""
        file = folder / "chat_template.jinja"
        try:
            if file.is_file():
                return cls(file.read_text(encoding="utf-8"))
            file = folder / CONFIG
            found = read_json(file).get("chat_template")
            if isinstance(found, list):  # several named ones
                found = {entry["name"]: entry["template"] for entry in found}.get("default")
            return cls(found) if isinstance(found, str) else None
        except BadInput as error:
            raise BadInput(f"{file}: {error}") from error
        except (LookupError, TypeError, ValueError) as error:
            raise BadInput(
                f"{file} holds no readable chat template ({error}); fetch the model's files again"
            ) from error

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        add_generation_prompt: bool = True,
        **arguments: Any,
    ) -> list[int]:
        """Prompt ids. `arguments` are the template's own (`tools`, `reasoning_effort`, …), untrusted as well.

        Raises UsageError with the template's own sentence where it refuses the messages.
        """
        return tokenizer.encode_parts(self.parts(messages, tokenizer.specials, add_generation_prompt, **arguments))

    def parts(
        self,
        messages: Sequence[Mapping[str, Any]],
        specials: SpecialTokens,
        add_generation_prompt: bool = True,
        **arguments: Any,
    ) -> list[Part]:
        """The rendered prompt, cut where the caller's words spell a special token."""
        for message in messages:
            if not ROLE.fullmatch(str(message.get("role", ""))):
                raise UsageError(f"a message has the role {message.get('role')!r}; use user, assistant, system or tool")
        cover = Cover(specials)
        given = {"messages": list(messages), "tools": None, "documents": None, **arguments}
        own = {**specials.roles, "add_generation_prompt": add_generation_prompt}
        covered = {name: cover.hide(value) for name, value in given.items()}
        if cover.hidden:
            self._render({**given, **own})  # so that the template's own checks see what was really written
        return cover.reveal(self._render({**covered, **own}))

    def _render(self, values: Mapping[str, Any]) -> str:
        try:
            return self._template.render(values)
        except TemplateRefusalError as error:
            raise UsageError(str(error)) from None
        except (jinja2.TemplateError, *FAULTS) as error:
            raise UsageError(
                f"the chat template cannot take these messages ({error}); give each message a role and a text"
            ) from error


class TemplateRefusalError(Exception):
    """`raise_exception` was called inside a template; the message is the template's."""


class Cover:
    """Hides names of special tokens under covers made of letters and digits, which no template changes."""

    def __init__(self, specials: SpecialTokens) -> None:
        self.hidden: list[str] = []
        self._secret = f"c{secrets.token_hex(16)}n"
        self._names = re.compile(f"({specials.pattern.pattern})")
        self._heads = {n[:k] for n in specials.ids for k in range(1, len(n))}
        self._tails = {n[k:] for n in specials.ids for k in range(1, len(n))}
        self._longest = max(map(len, specials.ids), default=0)

    def hide(self, value: Any) -> Any:
        """A copy of the value with every string in it covered, keys of mappings included."""
        if isinstance(value, str):
            return self._hide_text(value)
        if isinstance(value, Mapping):
            return {self.hide(k): self.hide(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.hide(v) for v in value]
        return value

    def reveal(self, rendered: str) -> list[Part]:
        """Rendered text with what was hidden put back as untrusted parts."""
        pieces = re.split(rf"{self._secret}(\d+)e", rendered)
        return [Part(self.hidden[int(p)], False) if n % 2 else Part(p, True) for n, p in enumerate(pieces)]

    def _hide_text(self, text: str) -> str:
        """Also hides the end of a name at the start of the text and the start of one at its end: two texts,
        or a text and the template's words, could be joined to a whole name."""
        pieces = self._names.split(text)
        pieces[1::2] = [self._cover(name) for name in pieces[1::2]]
        last = pieces[-1].rstrip()
        for size in range(min(self._longest, len(last)), 0, -1):
            if last[-size:] in self._heads:
                pieces[-1] = last[:-size] + self._cover(last[-size:]) + pieces[-1][len(last) :]
                break
        first = pieces[0].lstrip()
        for size in range(min(self._longest, len(first)), 0, -1):
            if first[:size] in self._tails:
                pieces[0] = pieces[0][: -len(first)] + self._cover(first[:size]) + first[size:]
                break
        return "".join(pieces)

    def _cover(self, text: str) -> str:
        self.hidden.append(text)
        return f"{self._secret}{len(self.hidden) - 1}e"


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """The `tojson` that chat templates are written for: jinja2's own would escape Japanese and `<`."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise TemplateRefusalError(message)


class Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks answers for training; a prompt holds what is inside."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
