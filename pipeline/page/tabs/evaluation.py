"""The page's "Evaluation" tab: the last report's table and drawings, or how to come by one."""

from __future__ import annotations

from pipeline.evaluation.report import HEADLINE_NOTE, audit_part, drawings
from pipeline.evaluation.tables import as_html, headline
from pipeline.galleries.preparation import Preparation
from pipeline.galleries.reports import load_audit, load_report, report_path
from pipeline.page.html.sources import TEMPLATES

ABSENT = (
    "<p class='notice'>These galleries have not been evaluated yet. <code>python -m pipeline evaluate</code> does so "
    "in a few minutes; the result is shown here when this tab is opened the next time.</p>"
)
UNREADY = "<p class='notice'>The gallery is not ready yet; open this tab again when it is.</p>"


def evaluation_tab(preparation: Preparation) -> str:
    """The tab's content as HTML."""
    if not preparation.ready():
        return UNREADY
    report, names = load_report(preparation.gallery), audit_part(load_audit(preparation.gallery))
    if report is None:
        return f"{ABSENT}{names}"  # a sum would escape the former
    table, drawn = as_html(headline(report)), drawings(report)
    file = report_path(preparation.gallery).with_suffix(".html").name
    lines = HEADLINE_NOTE.removesuffix(".").split(". ")
    return TEMPLATES("evaluation", table=table, report=report, lines=lines, file=file, drawings=drawn) + names
