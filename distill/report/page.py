"""A report as one HTML file that opens anywhere: style and pictures inside, no script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

import workbench
from workbench.console import cell, numeric_columns
from workbench.html import page_head

PNG = b"\x89PNG"


class Page:
    """A page that is built from top to bottom. All text is escaped here."""

    def __init__(self, title: str, lead: str) -> None:
        self.title = title
        self._parts = [f'<p class="lead">{escape(lead)}</p>']

    def section(self, title: str, text: str = "") -> None:
        """A heading, and a sentence below it."""
        self._parts.append(f"<h2>{escape(title)}</h2>")
        if text:
            self.text(text)

    def text(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def figures(self, values: Mapping[str, str]) -> None:
        """Large numbers with their names."""
        rows = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values.items())
        self._parts.append(f'<dl class="figures">{"".join(rows)}</dl>')

    def picture(self, image: bytes, description: str, caption: str = "") -> None:
        """A PNG or JPEG; ``description`` is what a reader who does not see it gets."""
        self._parts.append(_figure(image, description, caption))

    def gallery(self, pictures: Iterable[tuple[bytes, str]]) -> None:
        """Pictures side by side, each with its caption."""
        inside = "".join(_figure(image, text, text) for image, text in pictures)
        self._parts.append(f'<div class="gallery">{inside}</div>')

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table; numbers stand at the right."""
        classes = [' class="n"' if numeric else "" for numeric in numeric_columns(header, rows)]
        head = "".join(f'<th scope="col"{c}>{escape(name)}</th>' for name, c in zip(header, classes, strict=True))
        body = "".join(
            "<tr>" + "".join(f"<td{c}>{escape(cell(v))}</td>" for v, c in zip(row, classes, strict=True)) + "</tr>"
            for row in rows
        )
        self._parts.append(
            f'<div class="wide" tabindex="0" role="region" aria-label="{escape(header[0] or "table")}">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def commands(self, lines: Sequence[tuple[str, str]]) -> None:
        """Commands, each below what it is for."""
        for purpose, command in lines:
            self._parts.append(f'<p>{escape(purpose)}:</p><pre tabindex="0"><code>{escape(command)}</code></pre>')

    def folded(self, title: str, text: str) -> None:
        """Preformatted text that opens at a click."""
        block = f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
        self._parts.append(f"<details><summary>{escape(title)}</summary>{block}</details>")

    def html(self) -> str:
        """The whole file."""
        style = resources.files("distill.report").joinpath("page.css").read_text(encoding="utf-8")
        body = "\n".join(self._parts)
        return f"""{page_head(self.title, style)}
<body>
<header><h1>{escape(self.title)}</h1></header>
<main>
{body}
</main>
<footer><p>nas-workbench {workbench.__version__}</p></footer>
</body>
</html>
"""


def _figure(image: bytes, description: str, caption: str) -> str:
    kind = "png" if image.startswith(PNG) else "jpeg"
    data = base64.b64encode(image).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(description)}" src="data:image/{kind};base64,{data}">{below}</figure>'
