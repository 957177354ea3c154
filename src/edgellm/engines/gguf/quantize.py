"""Quantize a GGUF with llama.cpp, in a child process: a wrong call aborts llama.cpp, and must not abort us.

Two dry runs come before the real one. The first tells which type llama.cpp's mixture gives each tensor; where
the caller names types for some tensors, the second names a type for every tensor. Naming only some would
shift llama.cpp's count of layers and so change the types of tensors that nobody named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from edgellm.engines.gguf import quantize_plan, types
from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.imatrix_file import Floats, Imatrix
from edgellm.engines.gguf.imatrix_transfer import send_values
from edgellm.engines.gguf.quantize_log import Plan, PlannedTensor, PlanReader, ProgressReader
from edgellm.engines.gguf.soundness import check_model_file, unknown_architecture
from edgellm.engines.gguf.types import TENSOR_TYPES, FileType, TensorType
from edgellm.errors import BadInput, EngineFailed, UsageError
from edgellm.records.quantization import QuantizedTensor, QuantizeReport
from edgellm.store.atomic import file_aside
from edgellm.store.disk import became_full, free_bytes, need_space

CHILD = "edgellm.engines.gguf.quantize_child"
METADATA_ROOM = 64 << 10  # for the keys that quantizing adds


def quantize(
    source: Path, out: Path, type_name: str, imatrix: Imatrix | None = None,
    tensor_types: Mapping[str, str] | None = None, threads: int = 0,
    on_progress: Callable[[int, int], None] | None = None, *, allow_fallback: bool = False,
) -> QuantizeReport:  # fmt: skip
    """Write `source` quantized to `type_name` at `out` (aside, then renamed).

    source: a GGUF with F32, F16 or BF16 weights, or the first of its parts; it is not changed.
    type_name: a file type of llama.cpp, see `types.FILE_TYPES`.
    tensor_types: regular expression searched in tensor names → tensor type; the first that matches decides.
    threads: 0 is one per usable core; the bytes are the same for any number.
    on_progress: called with (weights done, weights in all).
    allow_fallback: take what llama.cpp puts in the place of a type whose blocks do not fit a tensor's rows.

    Raises UsageError for unknown types, a type that needs an importance matrix without one, a pattern that
    decides nothing, or a type that does not fit without `allow_fallback`; BadInput for a source or matrix that
    does not fit; NoSpace before anything is written, and where the disk is filled meanwhile; EngineFailed if
    llama.cpp refuses or dies.
    """
    order = Order(source, types.file_type(type_name), quantize_plan.by_pattern(tensor_types or {}), imatrix, threads)
    files = check_files(source, out)
    if order.type.needs_imatrix and imatrix is None:
        raise UsageError(f"{order.type.name} needs an importance matrix; calibrate first, or choose another type")
    work = f"quantizing {source} to {order.type.name}"
    # The child is inside, so that it has ended before its half-written file is removed.
    with file_aside(out) as aside, Child(CHILD, work) as child:
        before = inspect(child, files)
        send_values(child, order.values)
        plan = make_plan(child, order, aside)
        if not allow_fallback:
            quantize_plan.check_widths(plan)
        size_bytes = quantize_plan.planned_bytes(plan, before.sizes) + before.header_bytes
        need_space(out.parent, size_bytes + METADATA_ROOM, f"the {order.type.name} file of {source}")
        on_line = ProgressReader(sum(t.weights for t in plan.values()), on_progress) if on_progress else None
        try:
            named = plan if order.patterns or quantize_plan.is_packed(plan) else {}
            run(child, order, aside, named, on_line, dry=False)
        except EngineFailed:
            # llama.cpp says "iostream error" to whatever goes wrong with its file.
            if aside.exists() and free_bytes(aside) < size_bytes - aside.stat().st_size:
                raise became_full(out.parent, f"the {order.type.name} file of {source}") from None
            raise
        return report(order, plan, before, inspect(child, [aside]), aside.stat().st_size)


def check_types(source: Path, type_name: str, tensor_types: Mapping[str, str], *, allow_fallback: bool) -> None:
    """Raise what `quantize` would raise over types and patterns, before an importance matrix is made for them."""
    order = Order(source, types.file_type(type_name), quantize_plan.by_pattern(tensor_types), None, 0)
    with TemporaryDirectory(prefix="edgellm-") as folder:
        out = Path(folder) / "none.gguf"  # nothing is written
        check_files(source, out)
        with Child(CHILD, f"planning {source} as {order.type.name}") as child:
            fitting_plan(child, order, out, allow_fallback=allow_fallback)


def fitting_plan(child: Child, order: Order, out: Path, *, allow_fallback: bool) -> Plan:
    """`plan_types`, of a source that is not quantized yet and types that fit its tensors; raises for others."""
    plan = plan_types(child, order, out)
    quantize_plan.check_floats(plan)
    if not allow_fallback:
        quantize_plan.check_widths(plan)
    return plan


@dataclass(frozen=True)
class Order:
    """What was asked for, checked as far as names go."""

    source: Path
    type: FileType
    patterns: Mapping[re.Pattern[str], TensorType]
    imatrix: Imatrix | None
    threads: int
    values: Mapping[str, Floats] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", self.imatrix.values() if self.imatrix else {})

    @property
    def metadata(self) -> dict[str, int | str]:
        """What llama-quantize writes about an importance matrix; the file by its name, without folders."""
        if self.imatrix is None:
            return {}
        keys: dict[str, int | str] = {
            "quantize.imatrix.file": self.imatrix.file_name,
            "quantize.imatrix.entries_count": len(self.imatrix.entries),
        }
        if self.imatrix.datasets:
            keys["quantize.imatrix.dataset"] = self.imatrix.datasets[0]
        if self.imatrix.chunk_count > 0:
            keys["quantize.imatrix.chunks_count"] = self.imatrix.chunk_count
        return keys


@dataclass(frozen=True)
class Header:
    """Of a GGUF: where its first file's tensor data begins, and each tensor's ggml_type and bytes."""

    header_bytes: int
    types: Mapping[str, int]
    sizes: Mapping[str, int]


def inspect(child: Child, files: Sequence[Path]) -> Header:
    answers = [child.ask({"do": "inspect", "path": str(file)}) for file in files]
    tensors = {name: found for answer in answers for name, found in answer["tensors"].items()}
    types, sizes = ({name: found[i] for name, found in tensors.items()} for i in (0, 1))
    return Header(answers[0]["header_bytes"], types, sizes)


def check_files(source: Path, out: Path) -> tuple[Path, ...]:
    """The files of the source: one, or its parts."""
    if not source.is_file():
        raise BadInput(f"there is no file at {source}; give the path of a GGUF file")
    header = read_header(source)
    check_model_file(header)
    if out.exists() and any(out.samefile(file) for file in header.files):
        raise UsageError(f"{out} is the source itself, which is never changed; give another path to write to")
    return header.files


def run(
    child: Child, order: Order, out: Path, plan: Plan, on_line: Callable[[str], None] | None, *, dry: bool
) -> None:  # fmt: skip
    """One call of llama_model_quantize; a `plan` names the type of every tensor, an empty one none.

    llama.cpp reads them only where the file type is a quantized one; a float file type is run as Q8_0 then.
    """
    named = [(f"^{re.escape(t.name)}$", TENSOR_TYPES[t.target].number) for t in plan.values()]
    metadata = order.metadata
    number = order.type.number
    if named and not TENSOR_TYPES[order.type.default].is_quantized:
        metadata["general.file_type"] = number
        number = types.FILE_TYPES["Q8_0"].number
    request = {
        "do": "quantize", "source": str(order.source), "out": str(out), "ftype": number,
        "threads": order.threads, "dry_run": dry, "types": named, "metadata": metadata,
    }  # fmt: skip
    if child.ask(request, on_line=on_line)["code"] != 0:
        said = child.telling_line().removeprefix("llama_model_quantize: failed to quantize: ")
        raise unknown_architecture(order.source, said) or EngineFailed(
            f"llama.cpp refused {child.work}, saying “{said}”: check the file, or choose another type"
        )


def make_plan(child: Child, order: Order, out: Path) -> Plan:
    """What every tensor will become, by llama.cpp's own word; refuses what would fail or be ignored."""
    plan = plan_types(child, order, out)
    quantize_plan.check_importance(plan, order.type, order.values)
    return plan


def plan_types(child: Child, order: Order, out: Path) -> Plan:
    """The plan as far as shapes and names decide it, whatever the importance matrix covers."""
    mixture = PlanReader()
    run(child, order, out, unfit_but_named(order), mixture, dry=True)
    plan = quantize_plan.with_packed_kept(mixture.tensors)
    if order.patterns:
        deciding = quantize_plan.deciding_patterns(plan, order.patterns)
        asked = quantize_plan.with_types(plan, {name: order.patterns[p] for name, p in deciding.items()})
        confirmed = PlanReader()
        run(child, order, out, asked, confirmed, dry=True)
        plan = quantize_plan.settle(plan, asked, confirmed.tensors, deciding, order.patterns)
    return plan


def unfit_but_named(order: Order) -> Plan:
    """Tensors that would end the first dry run and that a pattern gives another type.

    Where a type's blocks do not fit and llama.cpp has nothing to put in its place (Q1_0), it refuses the file. Such
    mixtures give all layers the same, so naming some tensors shifts nothing.
    """
    default = TENSOR_TYPES[order.type.default]
    if default.fallback is not None or not order.patterns:
        return {}
    tensors = (
        PlannedTensor(t.name, (*reversed(t.shape), *[1] * (4 - len(t.shape))), t.type, t.type, t.type)
        for t in read_header(order.source).tensors
        if len(t.shape) > 1 and t.shape[-1] % default.block_weights
    )
    plan = {t.name: t for t in tensors}
    deciding = quantize_plan.deciding_patterns(plan, order.patterns)
    named = {name: tensor for name, tensor in plan.items() if name in deciding}
    return quantize_plan.with_types(named, {name: order.patterns[p] for name, p in deciding.items()})


def reason(order: Order, tensor: PlannedTensor) -> str:
    """The rule by which a tensor got its type."""
    pattern = next((p for p in order.patterns if p.search(tensor.name)), None)
    obeyed = pattern is not None and order.patterns[pattern].name == tensor.wanted
    if tensor.target == tensor.source and not obeyed:
        return "stays as it is in the source"
    rule = f"the pattern {pattern.pattern!r}" if pattern and obeyed else f"the mixture {order.type.name}"
    if tensor.wanted == tensor.target:
        return rule
    return f"{rule} asks for {tensor.wanted}, whose blocks do not fit rows of {tensor.shape[0]}"


def report(order: Order, plan: Plan, before: Header, after: Header, size_bytes: int) -> QuantizeReport:
    """The report, once the written file's header agrees with the plan; raises EngineFailed if it does not."""
    tensors = []
    for t in plan.values():
        kept = t.target == t.source
        planned = before.types[t.name] if kept else TENSOR_TYPES[t.target].number
        if after.types.get(t.name) != planned:
            raise EngineFailed(f"llama.cpp did not write {t.name} of {order.source} as {t.target}; report it")
        weighed = not kept and TENSOR_TYPES[t.target].uses_imatrix and quantize_plan.has_values(t, order.values)
        shape = list(t.shape)
        tensors.append(
            QuantizedTensor(
                name=t.name, shape=shape, source=t.source, requested=t.wanted, got=t.target, imatrix=weighed,
                reason=reason(order, t),
            )
        )  # fmt: skip
    weights, tensor_bytes = sum(t.weights for t in plan.values()), sum(after.sizes.values())
    return QuantizeReport(
        type=order.type.name, weights=weights, tensor_bytes=tensor_bytes, size_bytes=size_bytes,
        bits_per_weight=8 * tensor_bytes / weights, tensors=tensors,
    )  # fmt: skip
