"""The head of an HTML page that opens anywhere: style and script inside, nothing fetched, and a policy that says so."""

from __future__ import annotations

import base64
import hashlib
from html import escape


def page_head(title: str, style: str, script: str = "") -> str:
    """From the doctype to the end of the head; the policy allows this style and this script alone, by their hashes."""
    own = f"style-src '{_hash(style)}'" + (f"; script-src '{_hash(script)}'" if script else "")
    policy = f"default-src 'none'; img-src data:; {own}; base-uri 'none'; form-action 'none'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>"""


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
