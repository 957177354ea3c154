"""What an importance matrix is worth: mean KL divergence of a low-bit type without one and with several.

    python benchmarks/imatrix_gain.py [TARGET] [--type Q2_K] [--text FILE …] [--tokens 20000] [--json FILE]

The matrices come from text that the model writes itself, from the text that ships, and from its English part
alone. Each change against no matrix is paired document by document, with a 95 % bootstrap over documents. The
text to measure on must be one that no matrix has seen: by default the verification text; FILE may be xz-compressed,
a form feed separates its documents, and the first 512 tokens are taken of about as many as make --tokens, evenly
spread.
Ends with 1 if the change for the model's own text is not clearly below zero.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from edgellm.build.order import recipe_for, source_of
from edgellm.build.pipeline import Base, make_artifact, make_base
from edgellm.cli.progress import progress_on_stderr
from edgellm.engines import open_runtime
from edgellm.engines.protocol import Runtime, RuntimeOptions
from edgellm.inference.target import resolve
from edgellm.language.tokenizer import Tokenizer
from edgellm.measures.fidelity import WINDOW_TOKENS, Document, Tally, kld_change, tallies
from edgellm.records.statistics import Interval
from edgellm.stages.verify import VERIFICATION, verification_documents
from edgellm.store.catalogue import DOCUMENT_BREAK, TEXTS
from edgellm.store.work import WorkFolder, default_root

MATRICES = {
    "none": "none",
    "self": "self",
    "shipped": "shipped",
    "English": str(TEXTS / "calibration" / "english.txt"),
}


def documents_of(paths: list[Path], tokenizer: Tokenizer, tokens: int) -> list[Document]:
    """The beginnings of the documents of `paths`, about `tokens` tokens, spread evenly over all of them."""
    texts = []
    for path in paths:
        raw = path.read_bytes()
        whole = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode()
        texts += [text.strip() for text in whole.split(DOCUMENT_BREAK) if text.strip()]
    wanted = max(1, tokens // WINDOW_TOKENS)
    chosen = texts[:: max(1, len(texts) // wanted)]
    start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    # A character is at most a few tokens, and a window is enough of each document.
    beginnings = [tokenizer.encode(text[: WINDOW_TOKENS * 4])[:WINDOW_TOKENS] for text in chosen]
    return [Document([*start, *ids], len(tokenizer.decode(ids).encode())) for ids in beginnings]


def measure(base: Base, type_name: str, documents: list[Document], matrices: dict[str, str]) -> dict[str, Tally]:
    """The tally of the target quantized with each of the matrices."""
    work, options = WorkFolder(default_root()), RuntimeOptions(context_tokens=WINDOW_TOKENS)
    with ExitStack() as opened, progress_on_stderr() as progress:

        def load(path: Path) -> Runtime:
            return opened.enter_context(closing(open_runtime("gguf", path, options)))

        made = {n: make_artifact(base, "gguf", type_name, {}, m, work, progress=progress) for n, m in matrices.items()}
        runtimes = {name: load(product.artifact) for name, product in made.items()}
        return tallies(load(base.gguf), runtimes, documents)[1]


def table(found: dict[str, Tally]) -> dict[str, dict[str, object]]:
    rows: dict[str, dict[str, object]] = {}
    tokens = sum(map(len, found["none"].kld))
    for name, tally in found.items():
        change: Interval = kld_change(found["none"], tally)
        mean = sum(float(k.sum()) for k in tally.kld) / tokens
        rows[name] = {"mean_kld": mean, "change": change.model_dump(), "tokens": tokens, "documents": len(tally.kld)}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", default="tiny-ja")
    parser.add_argument("--type", default="Q2_K")
    parser.add_argument("--text", type=Path, nargs="*", default=[])
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    target = resolve(asked.target)
    base = make_base(source_of(target, recipe_for(target)), WorkFolder(default_root()))
    if asked.text:
        documents = documents_of(asked.text, base.tokenizer, asked.tokens)
    else:
        documents = verification_documents(base.tokenizer, VERIFICATION)
    rows = table(measure(base, asked.type, documents, MATRICES))
    for name, row in rows.items():
        change = Interval.model_validate(row["change"])
        share = change.value / float(str(rows["none"]["mean_kld"]))
        print(
            f"{name:<8} mean KLD {row['mean_kld']:.5f}   "
            f"change {change.value:+.5f} [{change.low:+.5f}, {change.high:+.5f}]  {share:+.1%}   "
            f"({row['tokens']:,} tokens, {row['documents']} documents)"
        )
    if asked.json:
        asked.json.write_text(json.dumps({"target": asked.target, "type": asked.type, "rows": rows}, indent=1) + "\n")
    sys.exit(0 if Interval.model_validate(rows["self"]["change"]).high < 0 else 1)


if __name__ == "__main__":
    main()
