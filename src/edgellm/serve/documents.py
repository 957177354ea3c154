"""The text of a file that comes with a request: plain text, PDF or Word."""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
import sys

from edgellm.errors import BadInput
from edgellm.language.encodings import decode_japanese

PATIENCE_S = 30.0
PDF, ZIP = b"%PDF-", b"PK\x03\x04"


def text_of_base64(encoded: str) -> str:
    """Blocks while a child process reads a PDF or Word file. Raises BadInput with what is wrong with the file."""
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("its data is not base64; encode the whole file") from None
    return document_text(data) if data.startswith((PDF, ZIP)) else decode_japanese(data)


def document_text(data: bytes) -> str:
    command = [sys.executable, "-P", "-m", "edgellm.serve.document_child"]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise BadInput(f"it could not be read within {PATIENCE_S:.0f} s; send the part that matters") from None
    if done.returncode:
        raise BadInput("reading it took more memory than a file may; send the part that matters")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise BadInput(answer["error"])
    if not answer["text"]:
        raise BadInput("there is no text in it, as in scanned pages; send the text itself")
    return str(answer["text"])
