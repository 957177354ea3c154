"""What exact tokens save against the engine's own vocabulary, and what the exact tokenizer costs.

    python benchmarks/tokens_saved.py TEXT.txt[.xz] TARGET...

A TARGET is whatever `edgellm tokenize` takes and has an engine's vocabulary: a GGUF, or a folder with a SentencePiece
vocabulary. Lines are counted as texts of their own; the speed is that of the whole file as one text, on one core.
"""

from __future__ import annotations

import argparse
import lzma
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edgellm.build.tokenizing import TextTokenizer
from edgellm.inference.target import resolve


@dataclass(frozen=True)
class Row:
    target: str
    differing: float  # share of the lines
    exact_tokens: int
    engine_tokens: int
    load_s: float
    encode_s: float
    decode_s: float


def measured(target: str, lines: list[str]) -> Row:
    with TextTokenizer(target) as both:
        found = both.tokenize(lines)
    if any(f.engine_ids is None for f in found):
        raise SystemExit(f"{target} has no engine's vocabulary to compare with; give a GGUF of it")
    began = time.perf_counter()
    tokenizer = resolve(target).tokenizer()
    loaded = time.perf_counter()
    ids = tokenizer.encode("\n".join(lines))
    encoded = time.perf_counter()
    tokenizer.decode(ids)
    decoded = time.perf_counter()
    return Row(
        target, sum(not f.agrees for f in found) / len(found), sum(len(f.ids) for f in found),
        sum(len(f.engine_ids or ()) for f in found), loaded - began, encoded - loaded, decoded - encoded,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("targets", nargs="+")
    given = parser.parse_args()
    data = given.text.read_bytes()
    text = (lzma.decompress(data) if given.text.suffix == ".xz" else data).decode()
    lines = [line for line in text.split("\n") if line.strip()]
    megabytes = len("\n".join(lines).encode()) / 1e6
    table = Table("target", "lines that differ", "exact tokens", "engine's", "saved", "load s", "encode MB/s", "decode")
    for target in given.targets:
        row = measured(target, lines)
        table.add_row(
            row.target, f"{row.differing:.1%} of {len(lines):,}", f"{row.exact_tokens:,}", f"{row.engine_tokens:,}",
            f"{1 - row.exact_tokens / row.engine_tokens:.1%}", f"{row.load_s:.2f}", f"{megabytes / row.encode_s:.1f}",
            f"{megabytes / row.decode_s:.1f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
