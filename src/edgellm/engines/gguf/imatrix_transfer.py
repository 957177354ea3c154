"""How an importance matrix reaches the child processes that quantize: both ends of the request `imatrix`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgellm.engines.gguf.child import Child
from edgellm.engines.gguf.imatrix_file import Floats
from edgellm.errors import BadInput


def send_values(child: Child, values: Mapping[str, Floats]) -> None:
    """Give the child what it quantizes by from now on; raises BadInput for values that are not finite."""
    for name, mean_squares in values.items():
        if not np.isfinite(mean_squares).all():
            raise BadInput(f"the importance matrix holds values for {name} that are not finite; calibrate again")
    sizes = {name: v.size for name, v in values.items()}
    child.ask({"do": "imatrix", "sizes": sizes}, [v.data.cast("B") for v in values.values()])


def received_values(sizes: Mapping[str, int], payload: bytearray) -> dict[str, Floats]:
    """The child's end: the values by tensor, which lie in the payload one behind the other; they are not copied."""
    found, start = {}, 0
    for name, size in sizes.items():
        found[name] = np.frombuffer(payload, np.float32, size, start)
        start += 4 * size
    return found
