"""llama.cpp's log, kept for error messages."""

from __future__ import annotations

import llama_cpp

from edgellm.engines.gguf import library
from edgellm.engines.gguf.library import Log

INFO, ERROR, CONTINUE = 2, 4, 5


def test_the_first_error_is_the_reason_without_the_name_of_its_function() -> None:
    log = Log()
    log.add(INFO, "llama_model_loader: loaded meta data\n")
    log.add(ERROR, "llama_model_load: error loading model: tensor 'x' data is not within the file bounds\n")
    log.add(ERROR, "llama_model_load_from_file_impl: failed to load model\n")
    assert log.reason() == "tensor 'x' data is not within the file bounds"


def test_a_continued_error_is_one_sentence() -> None:
    log = Log()
    log.add(ERROR, "decode: the batch ")
    log.add(CONTINUE, "is too\n")
    log.add(CONTINUE, "  large\n")
    assert log.reason() == "the batch is too large"


def test_what_continues_a_note_is_no_error() -> None:
    log = Log()
    log.add(ERROR, "load: it failed\n")
    log.add(INFO, "loading ")
    log.add(CONTINUE, ".....")
    assert log.reason() == "it failed"


def test_a_cleared_log_has_no_reason() -> None:
    log = Log()
    log.add(ERROR, "load: it failed\n")
    log.clear()
    assert log.reason() == ""


def test_the_build_names_binding_library_and_processor_features() -> None:
    build = library.build()
    assert build.startswith(f"llama-cpp-python {llama_cpp.__version__}, llama.cpp ")
    assert "OPENMP" in build or "REPACK" in build
