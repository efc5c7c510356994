"""A folder of photos as a gallery: its own photos, or what visitors dropped."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath

from pipeline.core.errors import PhotosError
from pipeline.photos.images import SUFFIXES
from pipeline.photos.photos import Faces, Photos, revision

# What systems, network drives and archives keep beside photos, and nobody means.
NOT_MEANT = re.compile(r"\.|@eaDir$|#recycle$|\$RECYCLE\.BIN$|__MACOSX$|(?:Thumbs\.db|desktop\.ini)$", re.IGNORECASE)
EVERY_FACE = ("every", "face")  # in a revision, as if it were a photo: one face of each would be other vectors
HIDDEN, OTHER, LOOP = "hidden or a system's own", "no photo by its ending", "a link to a folder that is here already"
REFUSED = "a folder that may not be read by this account"


@dataclass(frozen=True)
class Listing:
    """The photos below a folder, as (path, path below the folder as text), and what was left out, as (path, reason)."""

    photos: tuple[tuple[Path, PurePosixPath], ...]
    left_out: tuple[tuple[str, str], ...]


def own_photos(folder: Path, names: tuple[str, str]) -> Photos:
    """The photos below a folder for a gallery of every face, called `names`; a person is a photo's folder, or its name.

    PhotosError if there are none. Their revision stays the same wherever the folder is moved.
    """
    listing = photos_below(folder)
    if not listing.photos:
        raise PhotosError(f"There are no photos in {folder.name}; add some.")
    labels = [(name.as_posix(), name.parent.name or name.stem) for _, name in listing.photos]
    stamps = [_stamp(file) for file, _ in listing.photos]
    revised = revision([EVERY_FACE, *labels], stamps)
    return Photos(names, labels, (revised, stamps), lambda row: listing.photos[row][0], faces="nameless")


def _stamp(file: Path) -> str:
    """Size and time instead of the content: reading a large folder through takes minutes."""
    try:
        stat = file.stat()
    except OSError as error:
        raise PhotosError(f"{file} cannot be read ({error.strerror}); see that its drive is there.") from error
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def folder_photos(folder: Path) -> Photos:
    """The photos below a folder, for a gallery of every face in them; PhotosError if there are none."""
    folder_name = folder.resolve().name
    return labelled_photos(folder, (told_apart(folder_name, str(folder.resolve())), folder_name), faces="every")


def labelled_photos(
    folder: Path, names: tuple[str, str], stamp: Callable[[Path], str] = _stamp, faces: Faces = "one"
) -> Photos:
    """The photos below a folder, for a gallery called `names`; PhotosError if there are none.

    `stamp` tells whether a photo's file has changed. The name of a photo is that of one of its faces, see `Photos`.
    """
    if folder.is_file():
        raise PhotosError(
            f"FACESEARCH_DATASET names the file {folder}; name a folder, and unpack a zip into one first."
        )
    if not folder.is_dir():
        raise PhotosError(f"FACESEARCH_DATASET names the folder {folder}, which does not exist; correct the path.")
    listing = photos_below(folder)
    if not listing.photos:
        raise PhotosError(
            f"There are no photos in {folder} (looked for {', '.join(sorted(SUFFIXES))}); choose another folder."
        )
    ids = [name for _, name in listing.photos]
    labels = [(name.as_posix(), person) for name, person in zip(ids, people_of(ids), strict=True)]
    stamps = [stamp(file) for file, _ in listing.photos]
    revised = revision([EVERY_FACE, *labels] if faces == "every" else labels, stamps)
    photos = Photos(names, labels, (revised, stamps), lambda row: listing.photos[row][0], faces=faces)
    photos.left_out = listing.left_out
    return photos


def people_of(photos: Sequence[PurePosixPath]) -> list[str]:
    """Whom each photo shows: the topmost folder that tells people apart, or the photo's own name without one.

    A folder that all photos lie in tells nobody apart, unless those in it are years or dates.
    """
    folders = [photo.parts[:-1] for photo in photos]
    while len({names[0] for names in folders if names}) == 1 and all(len(names) != 1 for names in folders):
        if all(re.fullmatch(r"[\d\W_]+", names[1]) for names in folders if names):
            break
        folders = [names[1:] for names in folders]
    return [names[0] if names else photo.stem for names, photo in zip(folders, photos, strict=True)]


def photos_below(folder: Path) -> Listing:
    """Every photo below the folder, by its ending, and what was left out; linked folders are followed once.

    PhotosError where a folder cannot be listed: with half of its photos it would be another gallery.
    """

    def failed(error: OSError) -> None:
        refused = Path(error.filename)
        if not isinstance(error, PermissionError):
            raise PhotosError(
                f"The folder {refused} cannot be read ({error.strerror}); see that its drive is there."
            ) from error
        if refused == folder:
            raise PhotosError(f"The folder {folder} may not be read by this account; make it readable.") from error
        left_out.append((_readable(refused, folder), REFUSED))

    photos: list[Path] = []
    left_out: list[tuple[str, str]] = []
    seen = {folder.resolve()}
    for inside, folders, files in os.walk(folder, onerror=failed, followlinks=True):
        there = Path(inside)
        for name in sorted(folders):
            linked = (there / name).is_symlink()
            place = (there / name).resolve() if linked else there / name
            if NOT_MEANT.match(name) or (linked and any(place == one or place in one.parents for one in seen)):
                left_out.append((_readable(there / name, folder), HIDDEN if NOT_MEANT.match(name) else LOOP))
                folders.remove(name)
            elif linked:
                seen.add(place)
        why = {name: why_left_out(PurePosixPath(name)) for name in sorted(files)}
        left_out += [(_readable(there / name, folder), reason) for name, reason in why.items() if reason]
        photos += [there / name for name, reason in why.items() if not reason and (there / name).is_file()]
    photos.sort()
    named: dict[PurePosixPath, Path] = {}
    for photo in photos:
        named[_free(PurePosixPath(_readable(photo, folder)), named)] = photo
    return Listing(tuple((path, name) for name, path in named.items()), tuple(left_out))


def why_left_out(path: PurePosixPath) -> str:
    """Why a file of a folder or a zip is none of its photos, by its path; empty if it is one."""
    if any(NOT_MEANT.match(part) for part in path.parts):
        return HIDDEN
    return "" if path.suffix.lower() in SUFFIXES else OTHER


def _readable(path: Path, folder: Path) -> str:
    """The path below the folder in composed characters, so that a name is one name; what is not UTF-8 is replaced."""
    name = os.fsencode(path.relative_to(folder)).decode(errors="replace")
    return unicodedata.normalize("NFC", name).replace(os.sep, "/")


def _free(name: PurePosixPath, taken: Container[PurePosixPath]) -> PurePosixPath:
    """The name, or with a number behind it where it is taken: names that differ in their bytes may read the same."""
    numbered = (name.with_name(f"{name.stem} ({number}){name.suffix}") for number in count(2))
    return next(one for one in chain((name,), numbered) if one not in taken)


def told_apart(name: str, place: str) -> str:
    """A name for a gallery's folder that no gallery of another place has: two folders may share a name."""
    return f"{slug(name)}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "photos"
