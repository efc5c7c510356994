"""HTML templates: whatever is put into one is escaped, unless it came out of another one.

Line breaks of a template, and the indentation after them, are for its readers: there are none in the HTML.
"""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


class Templates:
    """The templates of one folder, each read once."""

    def __init__(self, folder: Path) -> None:
        def source(name: str) -> str:
            return re.sub(r"\n\s*", "", (folder / name).read_text(encoding="utf-8"))

        self._all = Environment(loader=FunctionLoader(source), autoescape=True, undefined=StrictUndefined)

    def __call__(self, name: str, **values: object) -> Markup:
        """The HTML of the template `name`.html with these values."""
        return Markup(self._all.get_template(f"{name}.html").render(values))
