"""Searching: everything on the search tab that asks for an answer."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import gradio as gr

from pipeline.core.errors import StorageError
from pipeline.core.files import replacing
from pipeline.galleries.ask import Which
from pipeline.galleries.preparation import Preparation
from pipeline.page.html import wording
from pipeline.page.html.grid import examples_html
from pipeline.page.parts import Changes, Parts, Values
from pipeline.page.presenter import Shown, attempted, searched, unanswered
from pipeline.page.query import Request, Trail
from pipeline.page.roles import role_of
from pipeline.page.server.uploads import own_folder
from pipeline.photos.pictures import Picture

OF_GALLERIES = "of-galleries"  # the folder of galleries' pictures where they are not kept

# A phone shows the answer at once, a desktop the photo beside it; and nothing moves where there is no answer.
TO_THE_ANSWER = """() => {
  const phone = matchMedia('(max-width: 640px)').matches;
  if (!document.querySelector('#results .tile, #sentence .notice')) return;
  document.querySelector(phone ? '#bar' : '#photo').scrollIntoView({block: phone ? 'start' : 'nearest'});
}"""


def show(parts: Parts, request: Request, face: object) -> Changes:
    """Searches with `face`, as a `Question` has it, and shows what comes out."""
    return parts.changes(searched(parts.galleries.get(request.gallery), request, face))


def as_file(picture: Picture) -> str:
    """The path of a gallery's picture as the visitor's photo; one that is not kept lies where visitors' photos do.

    StorageError if it cannot be written there either.
    """
    if isinstance(picture, Path):
        return str(picture)
    path = own_folder() / OF_GALLERIES / hashlib.sha256(picture).hexdigest()
    try:
        with replacing(path, lasting=False) as beside:
            beside.write_bytes(picture)
    except OSError as error:
        raise StorageError(
            f"This photo cannot be written to this server's temporary folder ({error.strerror}); make room there."
        ) from error
    return str(path)


def example_photos(preparation: Preparation) -> str:
    """The example photos as HTML."""
    gallery = preparation.gallery
    return examples_html([(gallery.pictures.thumbnail(one), gallery.person(one)) for one in gallery.examples()])


def with_picture(preparation: Preparation, photo_id: str, request: Request, trail: Trail, face: object = 0) -> Shown:
    """A photo of the gallery as the visitor's, and the search with it; `trail` is the way back from there."""
    path = as_file(preparation.gallery.pictures.original(photo_id))
    return replace(searched(preparation, replace(request, photo=path), face), photo=path, trail=trail)


def example(preparation: Preparation, request: Request, number: int = 0) -> Shown:
    """An example as the visitor's photo, and the page's search with it."""
    photo_id, blank = preparation.gallery.examples()[number], unanswered(preparation, request)
    return attempted(
        lambda: with_picture(preparation, photo_id, request, ()),
        lambda sentence: replace(blank, sentence=wording.notice(sentence)),
    )


def is_of_a_gallery(parts: Parts, photo: str) -> bool:
    """Whether a photo is the server's own, such as an example; a visitor's lies elsewhere."""
    return parts.galleries.is_picture(Path(photo)) or Path(photo).parent.name == OF_GALLERIES


def anew(preparation: Preparation, request: Request) -> Shown:
    """The search with another photo: its largest face, and no way back to the one before."""
    return replace(searched(preparation, request), trail=())


def search_events(parts: Parts) -> None:
    """Searches whenever the visitor changes something."""

    def of_face(values: Values) -> Changes:
        request = parts.request(values)
        return show(parts, request, request.face)

    def of_count(values: Values) -> Changes:
        request = parts.request(values)
        # Sent back only if it is another one: else the slider would lag behind who moves it.
        meant = gr.skip() if request.k == values[parts.k] else request.k
        return show(parts, request, request.face) | {parts.k: meant}

    def of_number(values: Values, event: gr.EventData) -> Changes:
        return show(parts, parts.request(values), int(event.face))

    def of_model(values: Values) -> Changes:
        request = replace(parts.request(values), role=None)
        # A model that was chosen by its name has no stand-in: where it cannot be used, the visitor is told why.
        is_ready = request.recipe in parts.galleries.get(request.gallery).ready()
        role = role_of(request.recipe) if is_ready else None
        return show(parts, replace(request, role=role), request.face)

    def of_every(values: Values) -> Changes:
        return show(parts, parts.request(values), Which.EVERY_FACE)

    def of_whole(values: Values) -> Changes:
        return show(parts, parts.request(values), Which.WHOLE_PHOTO)

    def of_photo(values: Values) -> Changes:
        request = parts.request(values)
        # Gradio sends a photo of the server's along when it was just cleared.
        gone = request.photo is not None and is_of_a_gallery(parts, request.photo)
        request = replace(request, photo=None) if gone else request
        return parts.changes(anew(parts.galleries.get(request.gallery), request))

    def of_example(values: Values, event: gr.EventData) -> Changes:
        request = parts.request(values)
        return parts.changes(example(parts.galleries.get(request.gallery), request, int(event.number)))

    photos = [parts.photo.input, parts.photo.clear]
    given = gr.on(photos, of_photo, parts.asked, parts.answer, trigger_mode="always_last", **parts.searching)
    parts.k.input(of_count, parts.asked, [*parts.answer, parts.k], trigger_mode="always_last", **parts.searching)
    choices = [parts.role.input, parts.index.input]
    gr.on(choices, of_face, parts.asked, parts.answer, trigger_mode="always_last", **parts.searching)
    parts.model.input(of_model, parts.asked, parts.answer, trigger_mode="always_last", **parts.searching)
    gr.on([parts.frames.select, parts.faces.select], of_number, parts.asked, parts.answer, **parts.searching)
    parts.faces.expand(of_every, parts.asked, parts.answer, **parts.searching)
    parts.whole.click(of_whole, parts.asked, parts.answer, **parts.searching)
    taken = parts.examples.select(of_example, parts.asked, parts.photo_and_answer, **parts.searching)
    for event in (given, taken):
        event.then(None, None, None, js=TO_THE_ANSWER)
