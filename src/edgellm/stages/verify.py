"""Artifact → verdict: structure, tokenizer round trip, fidelity against the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.engines.protocol import Runtime
from edgellm.errors import EdgellmError
from edgellm.measures.fidelity import Document
from edgellm.records.manifest import Manifest
from edgellm.records.recipe import Gate
from edgellm.records.results import Check, Fidelity, Verdict
from edgellm.records.sensitivity import MIXED, mixture_name
from edgellm.stages import Progress, labelled
from edgellm.stages.bundle import strays
from edgellm.store import catalogue, digest

if TYPE_CHECKING:
    from edgellm.language.tokenizer import Tokenizer

VERIFICATION = catalogue.TEXTS / "verification"
FURTHER_KINDS = VERIFICATION / "kinds"  # measured beside it, kind by kind: gates were set without them
KIND_OF_FILE = {"essays": "literary", "stories": "literary"}  # other files are called as their kind
# What goes wrong first when a Japanese vocabulary is converted badly.
TRAPS = {
    "half-width kana": "ﾊﾝｶｸｶﾅ ﾃﾞｰﾀ",
    "full-width digits": "１２３４５６７８９０号室",
    "two kinds of circle": "二〇二六年、○印と◯印",
    "emoji": "了解です👍 家族👨‍👩‍👧‍👦",
    "rare kanji through byte pieces": "𠮷野家と髙橋、葛󠄀城市、鱻",
    "newlines and tabs": "一行目\n二行目\n\n\t字下げ",
    "spaces": "  先頭と　全角  連続 ",
    "symbols": "①②③ ㈱ ℃ ～〜−－ー―",
}


def verification_documents(tokenizer: Tokenizer, path: Path = VERIFICATION) -> list[Document]:
    """The texts for fidelity, each encoded after BOS (or, where the vocabulary has none, after EOS)."""
    return [encoded(tokenizer, text) for text in catalogue.read_documents(path)]


def documents_by_kind(tokenizer: Tokenizer, limit: int | None = None) -> list[Document]:
    """The same documents, each with its kind, and behind them those of further kinds, which count for their kind alone.

    limit: at most so many documents of each kind.
    """
    found: list[Document] = []
    for folder in (VERIFICATION, FURTHER_KINDS):
        for file in sorted(folder.glob("*.txt")):
            kind = KIND_OF_FILE.get(file.stem, file.stem)
            for text in catalogue.read_documents(file):
                if limit is None or sum(d.kind == kind for d in found) < limit:
                    found.append(replace(encoded(tokenizer, text), kind=kind, only_kind=folder == FURTHER_KINDS))
    return found


def encoded(tokenizer: Tokenizer, text: str) -> Document:
    start = tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.eos_id
    head = [] if start is None else [start]
    return Document([*head, *tokenizer.encode(text)], len(text.encode()), len(text))


def check_structure(artifact: Path, engine: str, expected_type: str) -> list[Check]:
    """The artifact's header is sound, its tensors lie inside the file, and it holds the type that was asked for."""
    if engine != "gguf":
        return [Check(name="structure", passed=(artifact / "model.onnx").is_file(), detail="model.onnx is there")]
    from edgellm.engines.gguf.header import read_header
    from edgellm.engines.gguf.types import file_type

    try:
        header = read_header(artifact)
    except EdgellmError as error:
        return [Check(name="structure", passed=False, detail=str(error))]
    found = sorted({t.type for t in header.tensors})
    structure = Check(name="structure", passed=True, value=float(len(header.tensors)), detail="tensors inside the file")
    if expected_type.startswith(MIXED):
        # Chosen tensor by tensor, and named by what that comes to.
        named = mixture_name(header.bits_per_weight)
        return [structure, Check(name="tensor types", passed=named == expected_type, value=named, limit=expected_type)]
    # Q4_K_M is a mixture around Q4_K; a file that holds none of it fell back everywhere.
    wanted = file_type(expected_type).default
    return [
        structure,
        Check(name="tensor types", passed=wanted in found, value=", ".join(found), limit=f"holds {wanted}"),
    ]


def check_tokenizer(tokenizer: Tokenizer, artifact: Path, engine: str) -> list[Check]:
    """Every trap survives encoding and decoding; the artifact's vocabulary is the tokenizer's, piece by piece."""
    lost = [name for name, text in TRAPS.items() if not survives(text, tokenizer)]
    checks = [
        Check(
            name="tokenizer round trip", passed=not lost, value=float(len(TRAPS) - len(lost)), limit=float(len(TRAPS)),
            detail=f"lost: {', '.join(lost)}" if lost else "",
        )
    ]  # fmt: skip
    if engine == "gguf":
        from edgellm.engines.gguf.header import read_header

        pieces = read_header(artifact).tokens
        differing = sum(not same_piece(piece, i, tokenizer) for i, piece in enumerate(pieces))
        differing += max(0, tokenizer.vocab_tokens - len(pieces))
        checks.append(
            Check(name="vocabulary pieces", passed=differing == 0, value=float(differing), limit=0.0,
                  detail="pieces that differ from the tokenizer's")
        )  # fmt: skip
    return checks


def survives(text: str, tokenizer: Tokenizer) -> bool:
    """Whether a text comes back as it was; where the vocabulary normalises text, as it was after the first trip,
    without characters that no piece can spell."""
    ids = tokenizer.encode(text)
    found = tokenizer.decode(ids)
    if found == text or not tokenizer.normalizes:
        return found == text
    return bool(found.strip()) and tokenizer.unk_id not in ids and tokenizer.decode(tokenizer.encode(found)) == found


def same_piece(piece: str, token: int, tokenizer: Tokenizer) -> bool:
    """Whether the artifact names a token as the tokenizer does.

    Past the tokenizer's end only the filler may stand with which a vocabulary is brought to the height of a
    padded embedding; the engine writes a space where SentencePiece writes `▁` in tokens that users may type.
    """
    if token >= tokenizer.vocab_tokens:
        return piece == f"[PAD{token}]"
    return piece in (tokenizer.token(token), tokenizer.token(token).replace("▁", " "))


def check_fidelity(fidelity: Fidelity, gate: Gate | None) -> list[Check]:
    """The gate's limits against the ends of the intervals; without a gate only that the numbers are finite."""
    values = (fidelity.mean_kld.value, fidelity.perplexity, fidelity.bits_per_byte.value)
    checks = [Check(name="finite logits", passed=all(map(math.isfinite, values)))]
    if gate is None:
        return checks
    upper = {
        "mean KLD": (fidelity.mean_kld.high, gate.max_mean_kld),
        "perplexity ratio": (fidelity.perplexity_ratio.high, gate.max_perplexity_ratio),
    }
    for name, (value, limit) in upper.items():
        if limit is not None:
            checks.append(Check(name=name, passed=value <= limit, value=value, limit=limit))
    if gate.min_same_top_percent is not None:
        value = fidelity.same_top_percent.low
        passed = value >= gate.min_same_top_percent
        checks.append(Check(name="same top token", passed=passed, value=value, limit=gate.min_same_top_percent))
    return checks


def check_decodes(runtime: Runtime, ids: Sequence[int], steps: int = 16) -> Check:
    """The artifact generates: `steps` greedy tokens follow the prompt without an error."""
    from edgellm.engines.protocol import Feed

    runtime.keep(0, 0)
    feed, got = list(ids)[:64], 0
    for _ in range(steps):
        row = runtime.step([Feed(0, feed)])[0][0]
        if not math.isfinite(float(row.max())):
            break
        feed, got = [int(row.argmax())], got + 1
    return Check(name="generates", passed=got == steps, value=float(got), limit=float(steps))


def check_digests(bundle: Path, manifest: Manifest, progress: Progress | None = None) -> list[Check]:
    """Every file of the manifest is there unaltered, and nothing else is."""
    there = [e for e in manifest.files if (bundle / e.path).is_file()]
    with labelled(progress, f"digest {bundle.name}") as on_progress:
        digests = digest.of_files([bundle / e.path for e in there], on_progress)
    wrong = [f"{e.path} is missing" for e in manifest.files if e not in there]
    wrong += [f"{e.path} is altered" for e, found in zip(there, digests, strict=True) if found != e.sha256]
    wrong += [f"{name} is not in the manifest" for name in strays(bundle, manifest)]
    return [Check(name="digests", passed=not wrong, value=float(len(manifest.files)), detail="; ".join(wrong))]


def verdict_of(checks: Sequence[Check]) -> Verdict:
    return Verdict(passed=all(c.passed for c in checks), checks=list(checks))
