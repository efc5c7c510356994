"""A folder of photos as a gallery: its own photos, or what visitors dropped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import PhotosError
from pipeline.photos.photos import Photos, revision

PHOTO_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"))


def own_photos(folder: Path, names: tuple[str, str]) -> Photos:
    """The photos below a folder for a gallery of every face, called `names`; a person is a photo's folder, or its name.

    PhotosError if there are none. Their revision stays the same wherever the folder is moved.
    """
    files = list(_photos_below(folder))
    if not files:
        raise PhotosError("There are no photos left; drop some.")
    relative = [file.relative_to(folder) for file in files]
    labels = [(path.as_posix(), path.parent.name or path.stem) for path in relative]
    stamps = [_stamp(file) for file in files]
    revised = revision([("every", "face"), *labels], stamps)
    return Photos(names, labels, (revised, stamps), lambda row: files[row], every_face=True)


def _stamp(file: Path) -> str:
    """Size and time instead of the content: reading a large folder through takes minutes."""
    stat = file.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def folder_photos(folder: Path, names: tuple[str, str] | None = None) -> Photos:
    if not folder.is_dir():
        raise PhotosError(f"FACESEARCH_DATASET names the folder {folder}, which does not exist; correct the path.")
    files = list(_photos_below(folder))
    if not files:
        raise PhotosError(
            f"There are no photos in {folder} (looked for {', '.join(sorted(PHOTO_SUFFIXES))}); choose another folder."
        )
    labels, stamps = [], []
    for file in files:
        relative = file.relative_to(folder)
        labels.append((relative.as_posix(), relative.parts[0] if len(relative.parts) > 1 else file.stem))
        stamps.append(_stamp(file))
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:6]
    name = f"{slug(folder.resolve().name)}-{place}"  # two folders may share a name
    names = names or (name, folder.resolve().name)
    return Photos(names, labels, (revision(labels, stamps), stamps), lambda row: files[row])


def _photos_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in PHOTO_SUFFIXES and not hidden and path.is_file():
            yield path


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "photos"
