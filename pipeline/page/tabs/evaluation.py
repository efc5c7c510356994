"""The page's "Evaluation" tab: the last report's table and drawings, or how to come by one."""

from __future__ import annotations

from pipeline.evaluation.report import HEADLINE_NOTE, drawings
from pipeline.evaluation.tables import as_html, headline
from pipeline.galleries.preparation import Preparation
from pipeline.galleries.reports import load_report, report_path

ABSENT = (
    "<p class='notice'>These galleries have not been evaluated yet. <code>python -m pipeline evaluate</code> does so "
    "in a few minutes; the result is shown here when this tab is opened the next time.</p>"
)
UNREADY = "<p class='notice'>The gallery is not ready yet; open this tab again when it is.</p>"


def evaluation_tab(preparation: Preparation) -> str:
    """The tab's content as HTML."""
    if not preparation.ready():
        return UNREADY
    report = load_report(preparation.gallery)
    if report is None:
        return ABSENT
    where = report_path(preparation.gallery).with_suffix(".html").name
    made = f"Measured on {report['photos']:,} photos, {report['made'][:10]}."
    rest = f"The whole report, with the pictures of what went wrong, is <code>{where}</code> beside the galleries."
    note = f"<p class='note'>{made} {HEADLINE_NOTE} {rest}</p>"
    return as_html(headline(report)) + note + drawings(report)
