"""A progress line in a Jupyter notebook: one output that is updated in place. IPython is used only where it runs."""

from __future__ import annotations

import re
import sys
from html import escape
from typing import Any

FRACTIONS = (
    re.compile(r"\bstep (\d[\d,]*) of (\d[\d,]*)"), re.compile(r"(\d+)(%)"),
    re.compile(r"(\d[\d,]*) of (\d[\d,]*)"),
)  # fmt: skip
"""Ways of a text to say how much is done, the surest first: ``step 5 of 60``, ``45%``, ``3 of 10``."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: IPython is loaded and its shell has a kernel."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    shell = ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def fraction_in(text: str) -> float | None:
    """How much is done according to a progress text, from 0 to 1; None where it does not say."""
    found = next((match for pattern in FRACTIONS if (match := pattern.search(text))), None)
    if found is None:
        return None
    done, total = (100 if number == "%" else int(number.replace(",", "")) for number in found.groups())
    return min(1.0, done / total) if total else None


class NotebookLine:
    """The text of the moment beside a progress bar, in one output cell."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Show ``text`` in place of the text before."""
        from IPython.display import HTML, display

        output = HTML(progress_html(text))
        if self._handle is None:
            self._handle = display(output, display_id=True)
        else:
            self._handle.update(output)


def progress_html(text: str) -> str:
    """``text``, escaped, behind a bar where the text says how much is done."""
    fraction = fraction_in(text)
    bar = "" if fraction is None else f'<progress value="{fraction:.3f}" max="1"></progress> '
    return f"{bar}<code>{escape(text)}</code>"
