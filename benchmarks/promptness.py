"""How long after Ctrl-C each verb has ended, and after a client's hang-up its place is free.

    PYTHONPATH=tests python benchmarks/promptness.py [CHECKPOINT]

Each row runs a verb on a terminal of its own, waits until it shows what it is doing, lets it go on for a moment and
presses Ctrl-C. The larger the checkpoint (tiny-ja without one), the longer the single calls of the engine that
Ctrl-C falls into. Ends with 1 if anything took over a second or left a process or a half-written file behind.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from edgellm.store.atomic import ASIDE
from terminal import BAR_GONE, CTRL_C, Terminal

LIMIT_S = 1.0
MOMENT_S = 0.3  # between a label and Ctrl-C, so that the work itself is met
HANG_UPS = 5
LONG_PROMPT = "むかしむかし、あるところに、" * 40


@dataclass(frozen=True)
class Case:
    """A verb, and what its terminal shows, part after part, when Ctrl-C is to come."""

    words: tuple[object, ...]
    shown: tuple[str, ...] = ()
    moment_s: float = MOMENT_S

    @property
    def name(self) -> str:
        when = " … ".join(part if part.isprintable() else "answer" for part in self.shown)
        return f"{self.words[0]}: {when or f'{self.moment_s} s after its start'}"


def cases(model: str, bundle: Path, folder: Path) -> Iterator[Case]:
    for moment in (0.1, 0.2, 0.4, 0.8):  # in the imports
        yield Case(("demo", "--out", folder / "demo"), moment_s=moment)
    order = ("quantize", model, "--type", "Q8_0", "--gate", "none", "--out", folder / "bundle")
    for label in ("digest", "convert to F32", "calibrate"):
        yield Case(order, (label,))
    for label in ("quantize to", "load the models", "measure fidelity"):
        yield Case((*order, "--calibration", "none"), (label,))
    yield Case(("calibrate", model, "--text", "self", "--out", folder / "i.gguf"), ("generate text",))
    yield Case(("verify", bundle), ("digest",), 0.0)
    yield Case(("verify", bundle), ("load and generate",), 0.0)
    yield Case(("verify", bundle, "--reference", "tiny-ja"), ("measure fidelity",))
    yield Case(("run", model, LONG_PROMPT), ("load",), 0.0)
    yield Case(("run", model, LONG_PROMPT), ("read the prompt",))
    yield Case(("run", model, "はい", "--temperature", "2", "--seed", "1"), ("read the prompt", BAR_GONE))
    yield Case(("bench", model), ("bench",))
    yield Case(("tokenize", model, "-"), ("tokenize",))
    yield Case(("serve", model, "--port", "0"), ("load",), 0.0)
    yield Case(("serve", model, "--port", "0"), ("serving",))
    for label in ("quantize to Q4_K_M", "measure fidelity", "bench", "serve and ask"):
        yield Case(("demo", "--out", folder / "demo"), (label,))


def seconds_to_end(case: Case) -> tuple[float, str]:
    """Seconds from Ctrl-C to the end of the process, and what is wrong with its end."""
    with Terminal(*case.words) as terminal:
        terminal.until(*case.shown)
        time.sleep(case.moment_s)
        began = time.perf_counter()
        terminal.press(CTRL_C)
        code = terminal.wait()
        seconds = time.perf_counter() - began
        wanted = 0 if "serving" in case.shown else 130
        last = terminal.text.splitlines()[-1:]
        faults = [] if code == wanted else [f"exit code {code}"]
        if wanted and last != ["edgellm: stopped"]:
            faults.append(f"last line {last}")
        faults += [f"left running: {line}" for line in terminal.left_behind()]
    return seconds, "; ".join(faults)


def seconds_to_free_a_place(model: str) -> float:
    """From a client's hang-up in mid-stream until /health counts nothing as running; the longest of a few."""
    taken = []
    with Terminal("serve", model, "--port", "0") as terminal:
        terminal.until("serving ", "\r\n")
        url = terminal.text.rpartition(" ")[2].strip()
        body = {"prompt": LONG_PROMPT, "ignore_eos": True, "stream": True, "max_tokens": 500}
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            for _ in range(HANG_UPS):
                with http.stream("POST", "/v1/completions", json=body) as stream:
                    next(stream.iter_lines())
                began = time.perf_counter()
                while http.get("/health").json()["running"]:
                    time.sleep(0.005)
                taken.append(time.perf_counter() - began)
    return max(taken)


def measured(model: str, folder: Path) -> Iterator[tuple[str, float, str]]:
    """(name, seconds, what is wrong) of each row; prints the table as it goes."""
    bundle = folder / "verified"
    with Terminal("quantize", "tiny-ja", "--type", "Q8_0", "--out", bundle) as terminal:
        assert terminal.wait() == 0, terminal.text
    for case in cases(model, bundle, folder):
        seconds, fault = seconds_to_end(case)
        print(f"{seconds:6.2f} s  {case.name:48} {fault}", flush=True)
        yield case.name, seconds, fault
    seconds = seconds_to_free_a_place(model)
    print(f"{seconds:6.2f} s  serve: a client hangs up (longest of {HANG_UPS})")
    yield "serve: a client hangs up", seconds, ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="tiny-ja")
    model = parser.parse_args().checkpoint
    with tempfile.TemporaryDirectory(prefix="promptness-") as name:
        os.environ["EDGELLM_WORK"] = str(Path(name) / "work")
        rows = list(measured(model, Path(name)))
        left = [str(path.relative_to(name)) for path in Path(name).rglob(f"{ASIDE}*")]
    late = [f"{row} ({seconds:.2f} s)" for row, seconds, _ in rows if seconds > LIMIT_S]
    wrong = [f"{row}: {fault}" for row, _, fault in rows if fault] + [f"half written: {path}" for path in left]
    print(f"\n{len(rows)} moments\nover {LIMIT_S:.0f} s: {', '.join(late) or 'none'}")
    print(f"wrong: {'; '.join(wrong) or 'none'}")
    raise SystemExit(1 if late or wrong else 0)


if __name__ == "__main__":
    main()
