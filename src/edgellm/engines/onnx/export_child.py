"""The process that exports: `python -m edgellm.engines.onnx.export_child CHECKPOINT FOLDER`.

Torch lives and dies here, and no longer than the process that started it: when standard input ends, so does this
process. Standard output carries one JSON document a line, `{"done", "total"}` or
`{"error", "sentence"}`; everything the libraries print goes to standard error, which the parent holds.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError

from edgellm.engines.onnx.folder import CONFIG_FILE, GRAPH_FILE
from edgellm.errors import BadInput, EdgellmError, MissingExtra, NoSpace
from edgellm.store.disk import became_full, says_full

STEPS = 3  # import, load, trace
CHECKPOINT_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json",
)  # fmt: skip


def main() -> int:
    checkpoint, folder = map(Path, sys.argv[1:])
    reports = _keep_stdout_for_reports()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        _export(checkpoint, folder, reports)
    except EdgellmError as error:
        _say(reports, error=type(error).__name__, sentence=str(error))
        return error.exit_code
    except OSError as error:
        if not says_full(error):
            raise
        _say(reports, error=NoSpace.__name__, sentence=str(became_full(folder, f"the ONNX artifact of {checkpoint}")))
        return NoSpace.exit_code
    return 0


def _export(checkpoint: Path, folder: Path, reports: IO[str]) -> None:
    try:
        from optimum.exporters.onnx.convert import onnx_export_from_model
    except ImportError as error:
        raise MissingExtra(f"exporting to ONNX needs more ({error}); run: pip install 'edgellm[onnx]'") from None
    _say(reports, done=1, total=STEPS)
    model = load_model(checkpoint)
    _say(reports, done=2, total=STEPS)
    model.config.use_cache = True
    onnx_export_from_model(
        model,
        output=folder,
        task="text-generation-with-past",
        # Unfolded, the weights keep their names and shapes of the checkpoint, and a tied embedding is stored
        # once, not twice; onnxruntime folds the transposes when it loads the file.
        do_constant_folding=False,
        # Post-processing only removes duplicated weights, and does so or not by what else is installed.
        no_post_process=True,
        # Fidelity is the business of the verify stage, which compares with more than one random input.
        do_validation=False,
    )
    _use_files_of_checkpoint(checkpoint, folder)
    _say(reports, done=3, total=STEPS)


def load_model(checkpoint: Path) -> Any:
    """The model in float32; raises BadInput unless weights and config.json fit one another exactly.

    transformers itself would fill a missing weight with random numbers and leave out one too many.
    """
    import torch
    import transformers

    auto_class: Any = transformers.AutoModelForCausalLM
    if not any(checkpoint.glob("*.safetensors")):
        raise BadInput(f"{checkpoint} has no .safetensors weights; give the folder of a checkpoint with them")
    try:
        model, found = auto_class.from_pretrained(
            checkpoint, torch_dtype=torch.float32, local_files_only=True, use_safetensors=True,
            ignore_mismatched_sizes=True, output_loading_info=True,
        )  # fmt: skip
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadInput(f"{checkpoint} cannot be loaded ({reason}); fetch the checkpoint again") from error
    faults = [f"missing {name}" for name in sorted(found["missing_keys"])]
    faults += [f"misshapen {name}" for name in sorted(found["mismatched_keys"])]
    faults += [f"unexpected {name}" for name in sorted(found["unexpected_keys"])]
    if faults:
        raise BadInput(f"{checkpoint} does not fit its config.json ({faults[0]}); fetch the checkpoint again")
    return model.eval()


def _use_files_of_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Put the checkpoint's own files in place of the exporter's rewritten ones."""
    for path in folder.iterdir():
        if not path.name.startswith(GRAPH_FILE) and path.name != CONFIG_FILE:
            path.unlink()
    for name in CHECKPOINT_FILES:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)


def _end_with_stdin() -> None:
    while os.read(0, 1):  # unbuffered: a lock held by this thread would end the interpreter's exit in an abort
        pass
    os._exit(1)


def _keep_stdout_for_reports() -> IO[str]:
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return reports


def _say(reports: IO[str], **message: str | int) -> None:
    print(json.dumps(message), file=reports)


if __name__ == "__main__":
    sys.exit(main())
