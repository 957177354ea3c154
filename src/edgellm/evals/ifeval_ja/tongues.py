"""The language that a text is in, as M-IFEval tells it: by langdetect."""

from __future__ import annotations

from threading import Lock

LIBRARY = "langdetect"
SEED = 0  # langdetect draws at random: without a seed the same text may be told differently the next time
_detecting = Lock()


def language_of(text: str) -> str | None:
    """ISO 639-1 code, `zh-cn` and `zh-tw` for Chinese; None where nothing tells it (digits alone, say)."""
    from langdetect.detector_factory import DetectorFactory, detect
    from langdetect.lang_detect_exception import LangDetectException

    with _detecting:  # it loads its profiles on first use, and its seed is the class's
        DetectorFactory.seed = SEED
        try:
            return str(detect(text))
        except LangDetectException:
            return None
