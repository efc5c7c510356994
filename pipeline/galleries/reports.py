"""Reports on what is built of a gallery: made, kept beside the embeddings, and found again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.core.errors import GalleryMissing, PipelineError
from pipeline.core.files import read_sealed, replacing, sealed, write_json
from pipeline.core.progress import Report
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import Settings
from pipeline.embeddings.store import MANIFEST
from pipeline.evaluation.evaluate import FORMAT, Task, evaluate
from pipeline.evaluation.pairs import open_pairs
from pipeline.evaluation.report import html_report
from pipeline.galleries.gallery import Gallery
from pipeline.photos.images import open_image
from pipeline.search.searcher import Searcher


def make_report(
    gallery: Gallery,
    settings: Settings,
    recipes: Sequence[str] | None,
    indexes: Sequence[str] | None,
    report: Report,
) -> dict[str, Any]:
    """Evaluates these recipes, or all whose galleries are built; `left_out` says why one of those is not in it."""
    left_out: dict[str, str] = {}
    searchers = [gallery.searcher(name) for name in recipes] if recipes else _built(gallery, left_out)
    pairs = open_pairs(settings.dataset, gallery.photos, settings.cache)
    task = Task(gallery.photos, pairs, tuple(gallery.examples()), gallery.corrections)
    return evaluate(searchers, task, indexes, report) | {"left_out": left_out}


def _built(gallery: Gallery, left_out: dict[str, str]) -> list[Searcher]:
    searchers = []
    for name in built_recipes(gallery):
        try:
            searchers.append(gallery.searcher(name))
        except PipelineError as error:
            left_out[name] = str(error)
    if not searchers:
        reasons = " ".join(left_out.values()) or "No gallery is built yet; run `python -m pipeline build`."
        raise GalleryMissing(reasons)
    return searchers


def built_recipes(gallery: Gallery) -> list[str]:
    """The recipes whose galleries are there: asking for another would download its weights."""
    return [name for name in RECIPES if (gallery.folder(name) / MANIFEST).is_file()]


def report_path(gallery: Gallery) -> Path:
    """Where the last report on this gallery is, as JSON; the HTML lies beside it."""
    return gallery.index_root / gallery.photos.name / "evaluation.json"


def save_report(
    gallery: Gallery, report: dict[str, Any], json_path: Path | None = None, html_path: Path | None = None
) -> tuple[Path, Path]:
    """Writes the report as JSON and as one HTML file with pictures; returns where."""
    paths = json_path or report_path(gallery), html_path or report_path(gallery).with_suffix(".html")

    def picture(photo_id: str) -> Image.Image:
        row = gallery.photos.row_of(photo_id)
        return open_image(gallery.photos[row].source) if row is not None else Image.new("RGB", (1, 1), "white")

    content = html_report(report, picture)
    write_json(paths[0], sealed(report))
    with replacing(paths[1]) as beside:
        beside.write_text(content, encoding="utf-8")
    return paths


def load_report(gallery: Gallery) -> dict[str, Any] | None:
    """The last report; None if there is none that this version can read, or it was changed since."""
    try:
        report = read_sealed(report_path(gallery))
    except (OSError, ValueError):
        return None
    return report if report.get("format") == FORMAT else None
