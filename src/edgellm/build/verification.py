"""Verify a finished bundle: what `edgellm verify` does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from edgellm.build.pipeline import Product, judge, make_base, measure
from edgellm.build.sources import weights_behind
from edgellm.engines.protocol import RuntimeOptions
from edgellm.errors import UsageError
from edgellm.inference.target import read_manifest, resolve, resolve_folder
from edgellm.records.results import Check, Verdict, VerdictByKind
from edgellm.stages import Progress, labelled, verify
from edgellm.store.work import WorkFolder


def verify_bundle(
    bundle: Path, reference: str | None, work: WorkFolder, progress: Progress | None = None, *, by_kind: bool = False
) -> Verdict:
    """All checks that can be made of a bundle alone; with `reference` also fidelity against it, held to the
    gate of the recipe that it was made by.

    by_kind: measure further kinds of text too, and give a `VerdictByKind`; the gate looks at the same text as ever.
    Raises UsageError for that without a reference, BadInput if the folder is no finished bundle. A file that was
    altered ends the checks there: nothing that failed its digest is loaded.
    """
    if by_kind and reference is None:
        raise UsageError("kinds of text are measured against a reference; name it with --reference")
    manifest = read_manifest(bundle)
    checks: list[Check] = verify.check_digests(bundle, manifest, progress)
    if not checks[0].passed:
        return verify.verdict_of(checks)
    target = resolve_folder(bundle)
    assert target.artifact is not None
    product, tokenizer = Product(manifest.format, manifest.type, target.artifact, (), {}), target.tokenizer()
    if reference is not None:
        base = make_base(weights_behind(resolve(reference), progress), work, progress)
        documents = verify.documents_by_kind(base.tokenizer) if by_kind else None
        found, generates = measure(base, {manifest.type: product}, progress, documents)[manifest.type]
        verdict = verify.verdict_of([*checks, *judge(tokenizer, product, found, generates, manifest.gate).checks])
        return VerdictByKind(passed=verdict.passed, checks=verdict.checks, fidelity=found) if by_kind else verdict
    with labelled(progress, "check structure and tokenizer"):
        checks += verify.check_structure(product.artifact, product.format, product.type)
        checks += verify.check_tokenizer(tokenizer, product.artifact, product.format)
    with (
        labelled(progress, "load and generate"),
        closing(target.open_runtime(RuntimeOptions(context_tokens=256))) as runtime,
    ):
        checks.append(verify.check_decodes(runtime, verify.verification_documents(tokenizer)[0].ids))
    return verify.verdict_of(checks)
