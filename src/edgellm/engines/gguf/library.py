"""llama.cpp as a quiet guest in this process: started once, its log kept for error messages only."""

from __future__ import annotations

import ctypes
import os
import re
from collections import deque
from functools import cache

import llama_cpp

_LEVEL_ERROR, _LEVEL_CONTINUE = 4, 5  # enum ggml_log_level in ggml.h; llama_cpp._logger has old numbers


class Log:
    """The last errors that llama.cpp logged; information and debugging lines are dropped."""

    def __init__(self, lines: int = 32) -> None:
        self._errors: deque[str] = deque(maxlen=lines)
        self._level = 0

    def add(self, level: int, text: str) -> None:
        """Take one piece of log text; level 5 continues the piece before."""
        if level == _LEVEL_CONTINUE:
            if self._level == _LEVEL_ERROR and self._errors:
                self._errors[-1] += text
            return
        self._level = level
        if level == _LEVEL_ERROR:
            self._errors.append(text)

    def clear(self) -> None:
        """Forget what was logged, before a call whose errors are of interest."""
        self._errors.clear()

    def reason(self) -> str:
        """What went wrong since `clear`: the first error, which names the cause; the later ones only say
        that their callee failed. Without the name of the C++ function in front; "" if nothing was logged."""
        for line in self._errors:
            bare = re.sub(r"^\s*[\w:~]+: ", "", line.strip())
            bare = re.sub(r"^error loading model: ", "", bare)
            if bare:
                return " ".join(bare.split())
        return ""


log = Log()


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _to_log(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
    log.add(level, text.decode("utf-8", "replace"))


@cache
def start() -> None:
    """Silence llama.cpp and initialise its backends; later calls do nothing."""
    # A failed assertion would otherwise start a debugger to print a backtrace before the process dies.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    llama_cpp.llama_log_set(_to_log, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()


def build() -> str:
    """The engine and its version for result files: the binding, llama.cpp's version, CPU features in use."""
    start()
    system = llama_cpp.llama_print_system_info().decode()
    features = [name.split()[-1] for name in re.findall(r"[\w :]+(?= = 1\b)", system)]
    version = llama_cpp.llama_version().decode()
    return f"llama-cpp-python {llama_cpp.__version__}, llama.cpp {version} ({' '.join(features)})"
