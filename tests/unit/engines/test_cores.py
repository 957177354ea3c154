from __future__ import annotations

import os
import subprocess
import sys

import pytest

from edgellm.engines.cores import usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no processor affinity")
def test_usable_cores_follow_the_affinity_of_the_process() -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}])\n"
        "from edgellm.engines.cores import usable_cores\nprint(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert usable_cores() == len(os.sched_getaffinity(0))
