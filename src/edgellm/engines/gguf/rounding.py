"""A copy of a model in which single tensors are replaced by what a quantized type would make of them.

So the effect of a type on one tensor can be measured without writing a quantized file for it: the copy is loaded
again, which costs no more than mapping it, and all other weights are those of the original.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.header import read_header
from edgellm.engines.gguf.imatrix_file import Floats
from edgellm.engines.gguf.imatrix_transfer import send_values
from edgellm.engines.gguf.reader import read_index
from edgellm.errors import UsageError
from edgellm.store.disk import need_space

CHILD = "edgellm.engines.gguf.rounding_child"
COPY_BYTES = 16 << 20
FLOATS = ("F32", "F16", "BF16")


class RoundedCopy:
    """The copy in `folder`, which whoever made this removes; `base`, or the first of its parts, is not changed.

    values: what the quantizer takes of an importance matrix, by tensor; those that the model lacks are ignored.
    ggml runs in a child process, since a wrong call ends it. Raises NoSpace if the disk has no room for the copy.
    """

    def __init__(self, base: Path, folder: Path, values: Mapping[str, Floats]) -> None:
        self.path, self._folder, self._base = folder / base.name, folder, base
        header = read_header(base)
        self._files = header.files
        self._places = {t.name: (file, t) for file in self._files for t in read_index(file)[1]}
        self._values = {name: v for name, v in values.items() if name in self._places}
        need_space(folder, header.size_bytes, f"a copy of {base} to try types on")
        self._child = Child(CHILD, f"rounding the weights of {base}")

    def __enter__(self) -> RoundedCopy:
        try:
            for file in self._files:
                shutil.copyfile(file, self._folder / file.name)
            send_values(self._child, self._values)
        except BaseException:
            self._child.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._child.__exit__(kind, value, tb)

    def round(self, names: Sequence[str], type_name: str) -> float:
        """Replace tensors by what is left of them in a type; gives the share of their energy that is lost.

        That is Σ v(w − ŵ)² / Σ v w² over all their weights w, where v is the importance of a weight's input (1
        without a matrix). Raises UsageError for a tensor that is not stored as floats, EngineFailed if ggml dies.
        """
        return self._ask(names, type_name, write=True)

    def loss(self, names: Sequence[str], type_name: str) -> float:
        """What `round` would give, found on a part of large tensors; nothing is replaced."""
        return self._ask(names, type_name, write=False)

    def _ask(self, names: Sequence[str], type_name: str, *, write: bool) -> float:
        lost = whole = 0.0
        for name in names:
            file, tensor = self._places[name]
            if tensor.type not in FLOATS:
                raise UsageError(f"{name} of {self._base} is {tensor.type} already; give the F16, BF16 or F32 file")
            *outer, rows, width = tensor.shape
            answer = self._child.ask(
                {
                    "do": "round", "name": name, "type": type_name, "source": str(file),
                    "out": str(self._folder / file.name),
                    "offset": tensor.offset, "stored": tensor.type, "shape": [outer[0] if outer else 1, rows, width],
                    "write": write,
                }
            )  # fmt: skip
            lost, whole = lost + answer["lost"], whole + answer["whole"]
        return lost / whole if whole else 0.0

    def restore(self, names: Sequence[str]) -> None:
        """Give tensors their own weights back."""
        for file, tensor in (self._places[name] for name in names):
            with open(file, "rb") as source, open(self._folder / file.name, "r+b") as out:
                source.seek(tensor.offset)
                out.seek(tensor.offset)
                for start in range(0, tensor.size_bytes, COPY_BYTES):
                    out.write(source.read(min(COPY_BYTES, tensor.size_bytes - start)))
