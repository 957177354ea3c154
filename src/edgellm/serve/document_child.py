"""A process of its own that reads the text out of one PDF or Word file: bytes on stdin, JSON on stdout.

Such files come from anywhere. One that takes gigabytes or minutes shall cost a child, not the server; and reading an
honest one is work in Python, which would hold up every answer of the server's process.
"""

from __future__ import annotations

import json
import resource
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO

from edgellm.errors import BadInput, EdgellmError, MissingExtra

MOST_MEMORY_BYTES = 2 * 1024**3
MOST_UNPACKED_BYTES = 64 * 1024**2
MOST_PARTS = 2_000
MOST_PAGES = 2_000
MOST_CHARACTERS = 2_000_000  # far more than a context holds
EXTRA = "run: pip install 'edgellm[documents]'"


def main() -> None:
    if sys.platform == "linux":  # macOS has the call, and refuses it
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    data = sys.stdin.buffer.read()
    try:
        answer = {"text": joined(pdf_text(data) if data.startswith(b"%PDF-") else word_text(data))}
    except EdgellmError as error:
        answer = {"error": str(error)}
    except Exception as error:  # the libraries raise what they like on files that are broken
        answer = {"error": f"it cannot be read ({type(error).__name__}); save it anew, or send its text"}
    sys.stdout.write(json.dumps(answer))


def joined(pieces: Iterator[str]) -> str:
    texts, characters = [], 0
    for text in pieces:
        texts.append(text)
        characters += len(text)
        if characters > MOST_CHARACTERS:
            raise BadInput(f"its text is longer than {MOST_CHARACTERS:,} characters; send the part that matters")
    return "\n".join(texts).strip()


def pdf_text(data: bytes) -> Iterator[str]:
    try:
        from pypdf import PdfReader
    except ImportError:
        raise MissingExtra(f"this server cannot read PDF files; on it, {EXTRA}") from None
    reader = PdfReader(BytesIO(data))
    if reader.is_encrypted:
        raise BadInput("it is encrypted; send it without a password")
    if len(reader.pages) > MOST_PAGES:
        raise BadInput(f"it has {len(reader.pages)} pages and {MOST_PAGES} may be sent; send the part that matters")
    for page in reader.pages:
        yield page.extract_text()


def word_text(data: bytes) -> Iterator[str]:
    """Paragraphs and tables in their order; a row of a table is a line."""
    try:
        from docx import Document
        from docx.table import Table
    except ImportError:
        raise MissingExtra(f"this server cannot read Word files; on it, {EXTRA}") from None
    # zipfile unpacks no more of a part than its entry says, so the sum bounds what comes.
    parts = zipfile.ZipFile(BytesIO(data)).infolist()
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED_BYTES:
        raise BadInput(f"it unpacks to more than {MOST_UNPACKED_BYTES >> 20} MiB or {MOST_PARTS} parts; send its text")
    if "word/document.xml" not in {part.filename for part in parts}:
        raise BadInput("it is a ZIP archive but no Word file (.docx); send Word, PDF or text files")
    for block in Document(BytesIO(data)).iter_inner_content():
        if isinstance(block, Table):
            for row in block.rows:
                yield " | ".join(cell.text.replace("\n", " ") for cell in row.cells)
        else:
            yield block.text


if __name__ == "__main__":
    main()
