"""Named types for tensors whose rows the blocks of a mixture's types do not fit, in the place of llama.cpp's fallback.

llama.cpp's fallback goes by the type alone and mostly takes a step up (Q4_K becomes Q5_0, Q3_K and Q2_K both Q4_0), so
that a file is larger than its name says, by types that nobody chose. Here a tensor gets the smallest common type of at
least the bits that the mixture meant for it (`types.instead_of`): what `quantize` advises too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from edgellm.engines.gguf import quantize_plan, types
from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.quantize import CHILD, Order, check_files, plan_types
from edgellm.engines.gguf.quantize_log import Plan, PlannedTensor
from edgellm.engines.gguf.types import TENSOR_TYPES


def rules_for_misfits(source: Path, type_name: str, tensor_types: Mapping[str, str]) -> dict[str, str]:
    """Pattern → type for the tensors of `source` that would fall back as `type_name`; empty where all fit.

    tensor_types: what was asked for, as `quantize` takes it. A tensor that one of these decides gets no rule: that it
    does not fit is for `quantize` to say. Raises what `check_types` raises for types and patterns.
    """
    order = Order(source, types.file_type(type_name), quantize_plan.by_pattern(tensor_types), None, 0)
    with TemporaryDirectory(prefix="edgellm-") as folder:
        out = Path(folder) / "none.gguf"  # nothing is written
        check_files(source, out)
        with Child(CHILD, f"planning {source} as {order.type.name}") as child:
            plan = plan_types(child, order, out)
    asked = quantize_plan.deciding_patterns(plan, order.patterns)
    chosen = {
        t.name: types.instead_of(TENSOR_TYPES[t.wanted], t.shape[0]).name
        for t in plan.values()
        if t.wanted != t.target and t.name not in asked
    }
    return by_role(plan, chosen)


def by_role(plan: Plan, chosen: Mapping[str, str]) -> dict[str, str]:
    """One pattern for a role whose tensors all have one type, else one for each tensor."""
    roles: dict[str, list[PlannedTensor]] = {}
    for tensor in plan.values():
        roles.setdefault(role_of(tensor.name), []).append(tensor)
    found: dict[str, str] = {}
    for role, tensors in roles.items():
        given = {chosen.get(t.name) for t in tensors}
        if len(given) == 1 and (only := given.pop()) is not None:
            found[rf"\b{re.escape(role)}$"] = only
        else:
            found |= {f"^{re.escape(t.name)}$": chosen[t.name] for t in tensors if t.name in chosen}
    return found


def role_of(name: str) -> str:
    """`ffn_down_exps.weight` of `blk.3.ffn_down_exps.weight`."""
    return re.sub(r"^blk\.\d+\.", "", name)
