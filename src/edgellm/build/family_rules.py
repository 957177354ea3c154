"""Rules for single tensors that stand behind what was asked for: the family's own, and the recipe's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgellm.families import default_tensor_types
from edgellm.stages.convert import FLOAT_BYTES


def with_family_rules(base: Path, type_name: str, asked: Mapping[str, str]) -> dict[str, str]:
    """`asked` (pattern → type) and behind it those rules of the family that decide a tensor it does not name.

    `base` is the GGUF to be quantized; its architecture names the family. A float type needs no rules.
    """
    from edgellm.engines.gguf.header import read_header

    header = read_header(base)
    rules = {} if type_name in FLOAT_BYTES else default_tensor_types(header.architecture)
    left = [t.name for t in header.tensors if not any(re.search(pattern, t.name) for pattern in asked)]
    return {**asked, **{p: kind for p, kind in rules.items() if any(re.search(p, name) for name in left)}}


def without_overruled(base: Path, asked: Mapping[str, str], rules: Mapping[str, str]) -> dict[str, str]:
    """`rules` (pattern → type) without those that would decide a tensor of the GGUF `base`, were it not for `asked`.

    rules: begin with those of `asked`, which all stay: one that decides nothing is a slip, and refused later.
    """
    if not asked:
        return dict(rules)
    from edgellm.engines.gguf.header import read_header

    names = [tensor.name for tensor in read_header(base).tensors]
    alone = deciding(names, {pattern: kind for pattern, kind in rules.items() if pattern not in asked})
    overruled = alone - deciding(names, rules)
    return {pattern: kind for pattern, kind in rules.items() if pattern not in overruled}


def deciding(names: Iterable[str], rules: Mapping[str, str]) -> set[str]:
    """The patterns that are the first to be found in some name."""
    from edgellm.engines.gguf.quantize_plan import by_pattern, deciding_patterns

    return {pattern.pattern for pattern in deciding_patterns(names, by_pattern(rules)).values()}
