"""A folder of photos as a gallery: its own photos, or what visitors dropped."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.core.errors import PhotosError
from pipeline.photos.images import SUFFIXES
from pipeline.photos.photos import Photos, revision



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
    try:
        stat = file.stat()
    except OSError as error:
        raise PhotosError(f"{file} cannot be read ({error.strerror}); see that its drive is there.") from error
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def folder_photos(folder: Path, names: tuple[str, str] | None = None, stamp: Callable[[Path], str] = _stamp) -> Photos:
    """The photos below a folder; PhotosError if there are none. `stamp` tells whether a photo's file has changed."""
    if not folder.is_dir():
        raise PhotosError(f"FACESEARCH_DATASET names the folder {folder}, which does not exist; correct the path.")
    files = list(_photos_below(folder))
    if not files:
        raise PhotosError(
            f"There are no photos in {folder} (looked for {', '.join(sorted(SUFFIXES))}); choose another folder."
        )
    labels, stamps = [], []
    for file in files:
        relative = file.relative_to(folder)
        labels.append((relative.as_posix(), relative.parts[0] if len(relative.parts) > 1 else file.stem))
        stamps.append(stamp(file))
    folder_name = folder.resolve().name
    names = names or (told_apart(folder_name, str(folder.resolve())), folder_name)
    return Photos(names, labels, (revision(labels, stamps), stamps), lambda row: files[row])


def _photos_below(folder: Path) -> Iterator[Path]:
    """PhotosError where a folder cannot be listed: with half of its photos it would be another gallery."""

    def failed(error: OSError) -> None:
        if not isinstance(error, PermissionError):  # what this account may not see is not part of it
            raise PhotosError(
                f"The folder {error.filename} cannot be read ({error.strerror}); see that its drive is there."
            ) from error

    found = []
    for inside, folders, files in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(inside, name) for name in files if not name.startswith(".")]
    return (path for path in sorted(found) if path.suffix.lower() in SUFFIXES and path.is_file())


def told_apart(name: str, place: str) -> str:
    """A name for a gallery's folder that no gallery of another place has: two folders may share a name."""
    return f"{slug(name)}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "photos"
