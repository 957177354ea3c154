"""Which ids of a vocabulary are special, what they are called, and which ones end an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgellm.errors import BadInput

STOP_NAMES = ("<|return|>", "<|call|>", "<|endoftext|>")
CONFIG = "tokenizer_config.json"
# How special tokens are written, after llama.cpp's converter; DeepSeek's bars are full-width.
SPECIAL_NAME = re.compile(r"<\|.*\|>|<｜.*｜>|<unused.*>|<pad>|<mask>|<2mass>|\[@BOS@\]", re.DOTALL)


@dataclass(frozen=True)
class SpecialTokens:
    """`ids` is name → id of every special token; `roles` maps `bos_token` and the like to names."""

    ids: Mapping[str, int]
    roles: Mapping[str, str] = field(default_factory=dict)
    adds_bos: bool = False
    more_stop_ids: frozenset[int] = frozenset()

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the name of any special token, the longest first; nothing where there are none."""
        longest_first = sorted(filter(None, self.ids), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def id_of(self, role: str) -> int | None:
        name = self.roles.get(role)
        return None if name is None else self.ids.get(name)

    @property
    def stop_ids(self) -> frozenset[int]:
        eos = self.id_of("eos_token")
        named = {self.ids[n] for n in STOP_NAMES if n in self.ids}
        return self.more_stop_ids | named | (frozenset() if eos is None else {eos})


def looks_special(name: str) -> bool:
    """Whether a token is special by its name, such as `<|start|>`, though nothing else marks it so.

    DeepSeek's and Qwen's files say of some marks of turns that they are not.
    """
    return SPECIAL_NAME.fullmatch(name) is not None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; {} where there is no such file. Raises BadInput if it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON ({error}); fetch the file again") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path} does not hold a JSON object; fetch the file again")
    return value


def from_folder(folder: Path, added: Iterable[Mapping[str, Any]] = (), adds_bos: bool = False) -> SpecialTokens:
    """What the files of a checkpoint folder say.

    `added` are the added tokens of its tokenizer.json; where tokenizer_config.json names an id as well,
    its name wins. `adds_bos` is taken where tokenizer_config.json has no `add_bos_token`.
    """
    config = read_json(folder / CONFIG)
    entries = {int(t["id"]): t for t in added}
    entries |= {int(i): t for i, t in config.get("added_tokens_decoder", {}).items()}
    ids = {t["content"]: i for i, t in sorted(entries.items()) if t.get("special") or looks_special(t["content"])}
    named = read_json(folder / "special_tokens_map.json") | config
    roles = {k: text for k, v in named.items() if k.endswith("_token") and (text := _text(v)) is not None}
    by_name = {t["content"]: i for i, t in entries.items()}
    # A token with a role is special even where its entry forgets to say so.
    ids |= {name: by_name[name] for name in roles.values() if name in by_name}
    eos = read_json(folder / "generation_config.json").get("eos_token_id")
    stops = eos if isinstance(eos, list) else [] if eos is None else [eos]
    if not all(type(i) is int for i in stops):
        raise BadInput(f"eos_token_id in {folder / 'generation_config.json'} is {eos!r}, no token id; fetch it again")
    return SpecialTokens(ids, roles, bool(config.get("add_bos_token", adds_bos)), frozenset(stops))


def _text(value: object) -> str | None:
    """The name in a role, written as a string or as an added token."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None
