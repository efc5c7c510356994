"""Reports on what is built of a gallery: made, kept beside the embeddings, and found again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.core.errors import GalleryMissing, PhotosError, PipelineError, SettingsError
from pipeline.core.files import read_sealed, replacing, sealed, write_json
from pipeline.core.progress import Report
from pipeline.core.recipes import PREFERRED, RECIPES
from pipeline.core.settings import Settings
from pipeline.core.tables import CSV_ENCODING
from pipeline.embeddings.corrections import COLUMNS, NAME, Corrections
from pipeline.embeddings.store import MANIFEST
from pipeline.evaluation.audit import Names, View, audit, names_of, same_pictures, view_of
from pipeline.evaluation.evaluate import FORMAT, Task, evaluate
from pipeline.evaluation.pairs import VIEW_1, open_pairs
from pipeline.evaluation.report import Picture, audit_sheet, html_report
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
    pairs, view_1 = open_pairs(settings.dataset, gallery.photos, settings.cache), None
    if pairs and any(searcher.encoder.recipe.layer == "pca" for searcher in searchers):
        with suppress(PhotosError):  # the report says that it is missing
            view_1 = open_pairs(settings.dataset, gallery.photos, settings.cache, VIEW_1)
    task = Task(gallery.photos, pairs, tuple(gallery.examples()), gallery.corrections, view_1)
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
    content = html_report(report, _picture(gallery))
    write_json(paths[0], sealed(report))
    with replacing(paths[1]) as beside:
        beside.write_text(content, encoding="utf-8")
    return paths


def _picture(gallery: Gallery) -> Picture:
    def picture(photo_id: str) -> Image.Image:
        row = gallery.photos.row_of(photo_id)
        return open_image(gallery.photos[row].source) if row is not None else Image.new("RGB", (1, 1), "white")

    return picture


AGREEING = 2  # networks; where none are asked for, the best of PREFERRED that are built


def make_audit(
    gallery: Gallery, recipes: Sequence[str] | None, report: Report, *, corrected: bool = True
) -> dict[str, Any]:
    """What two networks or more find wrong with the gallery's names, beyond what is corrected or decided already."""
    known = gallery.corrections if corrected else Corrections()
    views, names = audit_views(gallery, recipes, known)
    findings = audit(views, names, same_pictures(gallery.photos, names, report))
    return {
        "format": FORMAT,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "title": gallery.photos.title,
        "photos_revision": gallery.photos.revision,
        "photos": len(names.photo_ids),
        "people": len(set(names.people)),
        "recipes": [view.calibration.recipe for view in views],
        "corrections": known.sha256,
        "findings": [finding.as_json() for finding in findings],
    }


def audit_views(gallery: Gallery, recipes: Sequence[str] | None, known: Corrections) -> tuple[list[View], Names]:
    """How these networks, or the two best that are built, see the gallery's photos, and who those show."""
    built = built_recipes(gallery)
    chosen = list(dict.fromkeys(recipes or [name for name in PREFERRED if name in built][:AGREEING]))
    if len(chosen) < AGREEING:
        others = " or ".join(name for name in PREFERRED if name not in chosen)
        raise SettingsError(f"An audit needs {AGREEING} networks that agree; build {others} as well.")
    searchers = [gallery.searcher(name) for name in chosen]
    names = names_of([searcher.embeddings for searcher in searchers], gallery.photos, known)
    views = []
    for name, searcher in zip(chosen, searchers, strict=True):
        if searcher.calibration is None:
            raise SettingsError(f"It is not known what distances of {name} mean; choose others with --recipes.")
        views.append(view_of(searcher.embeddings, names, searcher.calibration))
    return views, names


def save_audit(gallery: Gallery, made: dict[str, Any], paths: Sequence[Path | None] = (None, None, None)) -> list[Path]:
    """Writes an audit as JSON, as a table to be reviewed and as one HTML file with pictures; returns where."""
    beside = report_path(gallery).with_name("audit.json")
    written = [path or beside.with_suffix(end) for path, end in zip(paths, (".json", ".csv", ".html"), strict=True)]
    table = io.StringIO()
    rows = csv.DictWriter(table, (*COLUMNS, "sure"), extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows(made["findings"])
    write_json(written[0], sealed(made))
    with replacing(written[1]) as file:
        file.write_text(table.getvalue(), encoding=CSV_ENCODING)
    with replacing(written[2]) as file:
        file.write_text(audit_sheet(made, _picture(gallery)), encoding="utf-8")
    return written


def accept(gallery: Gallery, path: Path) -> int:
    """Takes what somebody decided in a reviewed table into the gallery's corrections; returns how many rows that is."""
    if not path.is_file():
        raise SettingsError(f"There is no file {path}; name the table that you reviewed.")
    decided = [row for row in Corrections.load(path).rows if row.status]
    kept = gallery.index_root / gallery.photos.name / NAME
    Corrections.load(kept).adding(decided).save(kept)
    return len(decided)


def load_audit(gallery: Gallery) -> dict[str, Any] | None:
    """The last audit; None if there is none of these photos that this version can read."""
    made = _load(report_path(gallery).with_name("audit.json"))
    return made if made and made.get("photos_revision") == gallery.photos.revision else None


def load_report(gallery: Gallery) -> dict[str, Any] | None:
    """The last report; None if there is none that this version can read, or it was changed since."""
    return _load(report_path(gallery))


def _load(path: Path) -> dict[str, Any] | None:
    try:
        report = read_sealed(path)
    except (OSError, ValueError):
        return None
    return report if report.get("format") == FORMAT else None
