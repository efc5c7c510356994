"""What the tab "My photos" says."""

from __future__ import annotations

from html import escape

from pipeline.galleries.own_gallery import OwnGallery, Told
from pipeline.page.html.wording import counted, notice, progress_line

TAB = "My photos"
INTRO = (
    "<p class='above'>Find a person in your own photos: drop them here, or a zip of them, and every face in them can "
    "be searched for. <span class='quiet'>They stay on this server, are shown to nobody but this browser, and are "
    "deleted soon after you close the page, unless you keep them.</span></p>"
)
KEEP = "Keep on this computer"
KEEP_NOTE = "Kept photos are offered again in this browser, also after a restart, until you remove them."


def state(gallery: OwnGallery | None) -> str:
    """Where the visitor's own gallery stands: how far it is, what is in it, what went wrong; empty if there is none."""
    if gallery is None:
        return ""
    problem = notice(gallery.problem) if gallery.problem else ""
    if gallery.working:
        how_far = progress_line(gallery.progress) if gallery.progress else "Reading your photos."
        return f"{problem}<p class='answer' role='status'>{escape(how_far)}</p>"
    if gallery.told is not None:
        return f"{problem}<p class='answer' role='status'>{escape(told_line(gallery.told))}</p>"
    count = len(gallery.photo_ids)
    return problem + (
        f"<p class='answer' role='status'>{counted(count, 'photo')} can be searched.</p>" if count else ""
    )


def told_line(told: Told) -> str:
    """What came of a drop, in a few sentences."""
    sentences = [f"{counted(told.faces, 'face')} in {counted(told.photos, 'photo')} can be searched."]
    if told.faceless:
        sentences.append(f"In {counted(told.faceless, 'photo')} no face was found.")
    if told.taken.unreadable:
        were = "file was" if told.taken.unreadable == 1 else "files were"
        sentences.append(f"{told.taken.unreadable:,} {were} skipped: not a photo that can be read.")
    if told.taken.known:
        were = "photo was" if told.taken.known == 1 else "photos were"
        sentences.append(f"{told.taken.known:,} {were} there already.")
    return " ".join(sentences)
