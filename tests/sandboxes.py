"""Whether code can be run in a sandbox here; containers often forbid what bubblewrap needs."""

from __future__ import annotations

import pytest

from edgellm.errors import SandboxMissing
from edgellm.evals.sandbox import run_python


def why_none() -> str:
    """Why there is no sandbox; empty where there is one."""
    try:
        run_python("pass")
    except SandboxMissing as error:
        return str(error)
    return ""


WHY_NONE = why_none()
needs_sandbox = pytest.mark.skipif(bool(WHY_NONE), reason=WHY_NONE or "there is a sandbox")
