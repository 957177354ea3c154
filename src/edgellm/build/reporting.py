"""A report from result files alone."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from edgellm.build.claims import judge
from edgellm.errors import UsageError
from edgellm.report.pages import write_claims_report, write_results_report
from edgellm.store import catalogue
from edgellm.store.disk import filling, need_writable
from edgellm.store.results import load_each


def report_on(places: Sequence[Path], out: Path, *, for_claims: bool = False) -> int:
    """Write the HTML report on the results in files and folders; gives how many there are.

    Raises BadInput for a file that is no result, UsageError where no result is found or `out` is a folder.
    """
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the .html file to write")
    need_writable(out, f"the report {out}", "give another place with --out")
    collection = load_each(places)
    if not collection.results and not for_claims:
        names = ", ".join(map(str, places))
        raise UsageError(f"{names} holds no result; `edgellm bench … --save DIR` writes one")
    with filling(out, f"the report {out}"):
        if for_claims:
            found = judge(catalogue.load_claims().claims, collection, ", ".join(map(str, places)))
            write_claims_report(found, out, version("edgellm"))
        else:
            write_results_report(collection, out, version("edgellm"))
    return len(collection.results)
