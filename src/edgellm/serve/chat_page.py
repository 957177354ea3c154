"""The chat page at `/`: one HTML file that asks for nothing but this server's own API."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SCRIPTS = ("words.js", "markdown.js", "api.js", "chat.js")  # each uses names of those before it


def page_routes() -> list[Route]:
    """The page is put together once, so that every request gets the same bytes."""
    style, script = part("chat.css"), "".join(map(part, SCRIPTS))
    html = part("chat.html").replace("/* chat.css */", style).replace("/* scripts */", script)
    headers = {
        "Content-Security-Policy": policy(style, script),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }

    async def page(_: Request) -> Response:
        return Response(html, media_type="text/html", headers=headers)

    return [Route("/", page)]


def part(name: str) -> str:
    return files("edgellm.serve").joinpath("page", name).read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
    """Nothing is run, shown or asked for but these two texts and this server; no text can become markup."""
    return "; ".join([
        "default-src 'none'",
        f"script-src {source_hash(script)}",
        f"style-src {source_hash(style)}",
        "connect-src 'self'",
        "img-src data:",  # the empty icon, without which browsers ask for /favicon.ico
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ])  # fmt: skip


def source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
