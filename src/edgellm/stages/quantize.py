"""Base artifact and importance matrix → quantized artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgellm.stages import Progress, labelled, told, versions_of
from edgellm.store import digest
from edgellm.store.atomic import write_text
from edgellm.store.work import Made, WorkFolder

STAGE_VERSION = "2"
REPORT = "quantize.json"


def quantize(
    base: Path, base_digest: str, imatrix: Path | None, type_name: str, tensor_types: Mapping[str, str],
    work: WorkFolder, threads: int = 0, progress: Progress | None = None, *, allow_fallback: bool = False,
) -> Made:  # fmt: skip
    """Quantize a base GGUF into `model.gguf`; `quantize.json` beside it says what each tensor became.

    The thread count is not part of the key: it does not change the bytes.
    """
    from edgellm.engines.gguf.imatrix_file import read_imatrix
    from edgellm.engines.gguf.quantize import quantize as run_quantizer

    inputs = {"base": base_digest}
    if imatrix is not None:
        inputs["imatrix"] = digest.of_file(imatrix)
    settings = {"type": type_name, "tensor_types": list(tensor_types.items()), "allow_fallback": allow_fallback}

    label = f"quantize to {type_name}"

    def make(folder: Path) -> None:
        with labelled(progress, label) as on_progress:
            report = run_quantizer(
                base, folder / "model.gguf", type_name, read_imatrix(imatrix) if imatrix else None, tensor_types,
                threads, on_progress, allow_fallback=allow_fallback,
            )  # fmt: skip
            write_text(folder / REPORT, report.model_dump_json(indent=1) + "\n")

    versions = versions_of("llama-cpp-python") | {"stage": STAGE_VERSION}
    return told(progress, label, work.step("quantize", inputs, settings, versions, make))
