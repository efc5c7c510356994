"""Templates: what is put into one is escaped, what came out of another is not, and a value that is missing is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from pipeline.core.templates import Templates

EVIL = "<b onclick='x'>\"&"


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    (tmp_path / "inner.html").write_text("<i\ttitle='{{ said }}'>\n  {{ said }}\n</i>\n")
    (tmp_path / "outer.html").write_text("<p>\n\n    {{ inner }}\n    {{ said }}\n</p>\n")
    return Templates(tmp_path)


def test_foreign_text_is_escaped_once_wherever_it_goes(templates: Templates) -> None:
    escaped = "&lt;b onclick=&#39;x&#39;&gt;&#34;&amp;"
    inner = templates("inner", said=EVIL)
    assert inner == f"<i\ttitle='{escaped}'>{escaped}</i>"
    assert templates("outer", inner=inner, said=EVIL) == f"<p>{inner}{escaped}</p>"


def test_line_breaks_of_what_is_put_in_stay(templates: Templates) -> None:
    assert templates("inner", said="1 · Ada\n  near").endswith(">1 · Ada\n  near</i>")


def test_a_value_that_is_missing_is_no_empty_place(templates: Templates) -> None:
    with pytest.raises(UndefinedError, match="inner"):
        templates("outer", said="x")
