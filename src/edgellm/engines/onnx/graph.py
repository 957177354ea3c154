"""One loaded ONNX graph: the only place that talks to onnxruntime, and where the KV cache takes its shape.

A decoder exported "with past" takes `input_ids`, mostly `attention_mask` and `position_ids`, and for each
layer `past_key_values.N.key` and `.value` of shape (batch, kv_heads, past, head_dim); it gives `logits` and
`present.N.key` and `.value`, which are the past of the next run. They stay OrtValues in between: a sequence
that runs alone is never copied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgellm.engines.states import Payload
from edgellm.errors import BadInput, EngineFailed, MissingExtra, UsageError

PAST_NAME = re.compile(r"past_key_values\.(\d+\.(?:key|value))")
FLOATS: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
ERRORS_ONLY = 3  # onnxruntime's severity scale; its warnings are about graphs, not for users


@dataclass(frozen=True)
class Past:
    """Keys and values of the tokens that one sequence holds, in the order of the graph's past inputs.

    Never changed once made, so two sequences may share one.
    """

    tokens: int
    values: tuple[Any, ...]  # onnxruntime.OrtValue


def import_onnxruntime() -> Any:
    """The onnxruntime module; raises MissingExtra where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnxruntime is not installed; run: pip install 'edgellm[onnx]'") from None
    library: Any = onnxruntime
    library.set_default_logger_severity(ERRORS_ONLY)
    return library


class Graph:
    """A decoder graph in an onnxruntime session."""

    def __init__(self, path: Path, *, threads: int, provider: str) -> None:
        """Load the file; raises BadInput for a damaged or unfit graph, UsageError for an absent provider."""
        self._library = import_onnxruntime()
        self._session = _open_session(self._library, path, threads, provider)
        inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name: node for node in self._session.get_outputs()}
        self._past_names = [name for name in inputs if PAST_NAME.fullmatch(name)]
        self._wanted = ["logits", *(PAST_NAME.sub(r"present.\1", name) for name in self._past_names)]
        _check_names(path, set(inputs), set(outputs), self._past_names, self._wanted)
        self._batches = not isinstance(inputs["input_ids"].shape[0], int)
        self._takes_mask = "attention_mask" in inputs
        self._takes_positions = "position_ids" in inputs
        self._empty = Past(0, tuple(self._empty_value(path, inputs[name]) for name in self._past_names))
        width = outputs["logits"].shape[-1]
        self._vocab_tokens = width if isinstance(width, int) else None

    @property
    def build(self) -> str:
        return f"onnxruntime {self._library.__version__}"

    @property
    def empty(self) -> Past:
        """The past of a sequence that holds nothing."""
        return self._empty

    @property
    def vocab_tokens(self) -> int | None:
        """Width of the logits, where the graph states it."""
        return self._vocab_tokens

    @property
    def batches(self) -> bool:
        """Whether one run takes several rows; some graphs are made for exactly one."""
        return self._batches

    @property
    def pads(self) -> bool:
        """Whether pasts of different lengths can run together: gaps must be masked, and positions told."""
        return self._takes_mask and self._takes_positions

    def run(self, ids: NDArray[np.int64], pasts: Sequence[Past]) -> tuple[NDArray[Any], list[Past]]:
        """Run `ids`, shape (rows, tokens), after the past of each row.

        Gives logits, shape (rows, tokens, vocab), a view into onnxruntime's memory, and the longer pasts.
        Where pasts differ in length (see `pads`), the shorter ones stand right-aligned behind masked zeros.
        Raises EngineFailed if the library refuses.
        """
        tokens, longest = ids.shape[1], max(past.tokens for past in pasts)
        held = np.array([[past.tokens] for past in pasts], np.int64)
        feeds = {"input_ids": self._value(ids)}
        if self._takes_mask:
            gap_ends = longest - held
            feeds["attention_mask"] = self._value((np.arange(longest + tokens) >= gap_ends).astype(np.int64))
        if self._takes_positions:
            feeds["position_ids"] = self._value(held + np.arange(tokens))
        feeds |= zip(self._past_names, self._stacked(pasts, longest), strict=True)
        try:
            logits, *present = self._session.run_with_ort_values(self._wanted, feeds)
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            what = f"onnxruntime could not run {tokens} tokens after {longest}"
            raise EngineFailed(f"{what} ({error}); nothing has changed, so try with fewer") from error
        return logits.numpy(), self._split(present, [past.tokens + tokens for past in pasts])

    def _stacked(self, pasts: Sequence[Past], longest: int) -> Sequence[Any]:
        """The past inputs of one run: of a single row what it holds, of several a copy in one block."""
        if len(pasts) == 1:
            return pasts[0].values
        blocks = []
        for rows in zip(*(past.values for past in pasts), strict=True):
            _, heads, _, width = rows[0].shape()
            block = np.zeros((len(rows), heads, longest, width), rows[0].numpy().dtype)
            for row, value in enumerate(rows):
                block[row, :, longest - pasts[row].tokens :] = value.numpy()[0]
            blocks.append(self._value(block))
        return blocks

    def _split(self, present: Sequence[Any], held: Sequence[int]) -> list[Past]:
        """The reverse: every row's own part of the outputs, without its gap."""
        if len(held) == 1:
            return [Past(held[0], tuple(present))]
        arrays = [value.numpy() for value in present]
        return [
            Past(tokens, tuple(self._value(array[row : row + 1, :, -tokens:].copy()) for array in arrays))
            for row, tokens in enumerate(held)
        ]

    def cut(self, past: Past, tokens: int) -> Past:
        """The first `tokens` tokens of a past, copied so that the rest can be freed."""
        if tokens == 0:
            return self._empty
        return Past(tokens, tuple(self._value(value.numpy()[:, :, :tokens].copy()) for value in past.values))

    def packed(self, past: Past) -> Payload:
        """The arrays of a past one after another, as bytes."""
        return np.concatenate([np.ascontiguousarray(value.numpy()).view(np.uint8).ravel() for value in past.values])

    def unpacked(self, tokens: int, payload: Payload) -> Past:
        """The past of so many tokens that `packed` gave; raises BadInput if the bytes are not as many."""
        values, start = [], 0
        for empty in self._empty.values:
            _, heads, _, width = empty.shape()
            kind = empty.numpy().dtype
            count = heads * tokens * width * kind.itemsize
            array = payload[start : start + count].copy()
            if len(array) != count:
                raise BadInput("this saved sequence does not fit the model's cache; feed its tokens instead")
            values.append(self._value(array.view(kind).reshape(1, heads, tokens, width)))
            start += count
        return Past(tokens, tuple(values))

    def _value(self, array: NDArray[Any]) -> Any:
        """An OrtValue over the array's own memory."""
        return self._library.OrtValue.ortvalue_from_numpy(array)

    def _empty_value(self, path: Path, node: Any) -> Any:
        shape, kind = node.shape, FLOATS.get(node.type)
        if kind is None or len(shape) != 4 or not isinstance(shape[1], int) or not isinstance(shape[3], int):
            raise BadInput(
                f"{path}: {node.name} is {node.type}{shape}, not a float tensor of "
                "(batch, kv_heads, past, head_dim) with fixed kv_heads and head_dim; export it again"
            )
        return self._value(np.zeros((1, shape[1], 0, shape[3]), kind))


def _check_names(
    path: Path, inputs: set[str], outputs: set[str], past_names: Sequence[str], wanted: Sequence[str]
) -> None:
    if not past_names:
        raise BadInput(f"{path} has no past_key_values inputs; export it for text-generation-with-past")
    if unknown := inputs - {"input_ids", "attention_mask", "position_ids", *past_names}:
        names = ", ".join(sorted(unknown))
        raise BadInput(f"{path} wants inputs that this engine does not know ({names}); export it with edgellm")
    if missing := ({"input_ids"} - inputs) | (set(wanted) - outputs):
        raise BadInput(f"{path} lacks {', '.join(sorted(missing))}; export it with edgellm")


def _open_session(library: Any, path: Path, threads: int, provider: str) -> Any:
    available: Sequence[str] = library.get_available_providers()
    if provider not in available:
        raise UsageError(
            f"this onnxruntime has no {provider}, only {', '.join(available)}; "
            "name one of these or install an onnxruntime build that has it"
        )
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1  # the graph is one chain of layers
    options.log_severity_level = ERRORS_ONLY
    try:
        return library.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise BadInput(f"onnxruntime cannot load {path} ({error}); export the checkpoint again") from error
