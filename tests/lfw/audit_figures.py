"""What the audit is worth on LFW: `python -m tests.lfw.audit_figures`, on galleries that are built.

Precision: of what it lists in LFW's names as they are, the share that `lfw_errata.csv` has as accepted; whatever it
lists has been looked at. Recall: of the mistakes there that were found without it, the share that it lists; and of
mistakes planted in the corrected names, the share of each kind.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.settings import Settings
from pipeline.embeddings.corrections import Correction, Corrections
from pipeline.evaluation.audit import Finding, audit, same_pictures
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.galleries.reports import audit_views
from tests.plants import KINDS, plant

RECIPES = ("mtcnn-reid", "mtcnn-facenet")
PLANTED, SEED = 200, 1
BY_NETWORKS = ("audit", "nearest strangers")  # what a row's source begins with that was found by vectors


@dataclass(frozen=True)
class Figures:
    """Counts (of them, all), and what was wrong or missing by photo ids."""

    right: tuple[int, int]
    found: tuple[int, int]
    planted: dict[str, tuple[int, int]]
    wrong: list[str]
    missing: list[str]
    seconds: float

    @property
    def planted_share(self) -> float:
        """The share of the planted mistakes that was found."""
        return sum(some for some, _ in self.planted.values()) / sum(all_ for _, all_ in self.planted.values())


def measure(gallery: Gallery, count: int = PLANTED) -> Figures:
    """The figures on a gallery of LFW, or of a part of it, with so many mistakes planted."""
    errata = Corrections.of(gallery.photos, gallery.index_root)
    mistakes = [row for row in errata.accepted if row.kind != "apart"]
    started = time.perf_counter()
    views, names = audit_views(gallery, RECIPES, Corrections())
    findings = audit(views, names, same_pictures(gallery.photos, names))
    seconds = time.perf_counter() - started
    wrong = [finding for finding in findings if not any(_says(finding, row) for row in mistakes)]
    independent = [row for row in mistakes if not all(part.startswith(BY_NETWORKS) for part in row.source.split("; "))]
    missing = [row for row in independent if not any(_says(finding, row) for finding in findings)]

    views, names = audit_views(gallery, RECIPES, errata)
    planted_names, plants = plant(names, count, SEED)
    caught = audit(views, planted_names)
    planted = {kind: [each.is_found(caught) for each in plants if each.kind == kind] for kind in KINDS}
    return Figures(
        (len(findings) - len(wrong), len(findings)),
        (len(independent) - len(missing), len(independent)),
        {kind: (sum(found), len(found)) for kind, found in planted.items()},
        [f"{each.correction.photo} {each.correction.other}" for each in wrong],
        [f"{row.photo} {row.other}" for row in missing],
        seconds,
    )


def _says(finding: Finding, row: Correction) -> bool:
    """Whether a finding is about the photo of a row of the errata, or about the same two people."""
    people = {photo.rsplit("_", 1)[0].replace("_", " ") for photo in row.photos}
    return row.photo in finding.correction.photos or (row.kind == "merge" and people == {*finding.people})


def table(figures: Figures) -> str:
    """The figures as text."""
    rows: Sequence[tuple[str, tuple[int, int]]] = [
        ("listed rightly", figures.right),
        ("found without the audit, and listed", figures.found),
        *((f"planted: {kind}", counts) for kind, counts in figures.planted.items()),
    ]
    lines = [f"{name}: {some} of {every} ({some / max(every, 1):.1%})" for name, (some, every) in rows]
    return "\n".join(
        [
            *lines,
            f"wrong: {', '.join(figures.wrong)}",
            f"missing: {', '.join(figures.missing)}",
            f"{figures.seconds:.0f} s\n",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(table(measure(open_gallery(Settings.from_env()))))
