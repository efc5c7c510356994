"""What the page says, as text and HTML: states, captions, sentences. Plain functions, so that words can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

from pipeline.core.progress import Progress
from pipeline.core.recipes import RECIPES
from pipeline.core.settings import VERSION
from pipeline.core.types import Answer, Hit, Verdict
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.own_gallery import OwnGallery, Told
from pipeline.galleries.preparation import Preparation, Status
from pipeline.indexes.registry import INDEXES, why_unavailable
from pipeline.photos.sources import SAMPLE

TITLE = "Reverse Face Search"
LEAD = "Who in the gallery looks most like this face?"
PRIVACY = "Nothing you upload is kept."
PRIVACY_OWN = "Nothing you upload is kept, unless you ask for it under My photos."
SAMPLE_NOTE = "of 40 people who do not exist: each is the average of six others"
CROP_ALT = "What the network sees of your photo"
LIMIT_LABEL = "Grey out results farther than"
FACE_NOTE = "Choose here, or click a face in the photo."
ABOVE_EXAMPLES = "<p class='above'>Or try one of these:</p>"
EXPLANATION = (
    "The **distance** tells how alike two photos are to the chosen model: 0 is the same photo, 2 is as unlike as can "
    "be. Each model has a scale of its own, so compare distances within one model only. A small distance is no proof "
    "that two photos show the same person, and the search always answers, even when the gallery does not hold them.\n\n"
    "The **percentage** is about the person that the results name first, and looks at all of them: how near the "
    "nearest is, how far the nearest of somebody else, and how many show the same person. Of searches like yours, if "
    "half of all are for people of the gallery, so many are right. The **words** are stricter: of people who are not "
    "in a gallery of this size, at most 1 in 500 would be told *very likely*, 1 in 100 *likely* or better, 1 in 10 "
    "*unclear* or better. Both were measured on LFW, and neither is a proof.\n\n"
    "LFW shows public figures of about 2002 to 2004. Children, people over 80, women and several ethnicities are rare "
    "in it, so expect worse answers for them. FaceNet learned from photos of celebrities, some of whom are in LFW too, "
    "and what the small networks learned from is not published in full: for people they never saw expect less than the "
    "figures here say.\n\n"
    "Your photo is searched on this server only, never sent on, and deleted from its temporary folder within the hour."
)
NO_FACE_LIVE = "No face is seen; come nearer, into the light, and look into the camera."
LIVE_NOTE = (
    "What the camera sees is searched on this server and forgotten at once. The camera is off when you stop it or "
    "leave this tab. Gallery and model are those chosen under Search."
)
INDEX_NOTE = " ".join(f"{name}: {kind.summary}" for name, kind in INDEXES.items())


SURENESS = {"very likely": "Very likely", "likely": "Likely", "unclear": "Perhaps"}


def caption(hit: Hit) -> str:
    """A result's caption: rank and name, and below them the distance and, where there is one, the verdict."""
    note = ", the same photo" if hit.is_query else ""
    verdict = f"\n{verdict_line(hit.verdict)}" if hit.verdict else ""
    return f"{hit.rank} · {hit.person}\ndistance {hit.distance:.2f}{note}{verdict}"


def verdict_line(verdict: Verdict) -> str:
    """A hit's verdict in words; the percentage is the person's, see `person_line`."""
    return f"same person: {verdict.words}"


def percent(share: float) -> str:
    """A share as a whole percentage that claims no certainty."""
    if share < 0.01:
        return "under 1 %"
    return "over 99 %" if share > 0.99 else f"{round(100 * share)} %"


def person_line(answer: Answer) -> str:
    """Who it is and how sure that is, in one sentence; empty where nothing is known."""
    verdict = answer.person
    if verdict is None:
        return ""
    chance = f"{percent(verdict.probability)} of searches like this one are right"
    who = verdict.person if verdict.named else f"the person in {answer.hits[0].photo_id}"
    if verdict.words == "unlikely":
        return f"Probably nobody in this gallery. Most like {who}, but only {chance}."
    return f"{SURENESS[verdict.words]} {who}: {chance}."


def model_label(recipe: str, status: Status) -> str:
    """A model's name in the toggle, with its state where that is not simply ready."""
    notes = {"unasked": "not prepared", "ready": "", "unavailable": "unavailable"}
    note = "custom weights" if status.custom_weights else notes.get(status.state, "soon")
    return f"{RECIPES[recipe].label} ({note})" if note else RECIPES[recipe].label


def model_note(recipe: str, status: Status) -> str:
    """What the chosen model is, and why it cannot be used where it cannot."""
    custom = " The weights are this server's own, not the published file." if status.custom_weights else ""
    reason = f" <b>Unavailable here:</b> {escape(status.reason)}" if status.state == "unavailable" else ""
    return f"<p class='note'>{escape(RECIPES[recipe].summary)}{custom}{reason}</p>"


def header(galleries: Galleries, key: str) -> str:
    """The top of the page: what this is, and where the gallery of this key, and the one to come, stand."""
    privacy = PRIVACY_OWN if galleries.own else PRIVACY
    title = f"<div><h1>{TITLE}</h1><p>{LEAD} <span class='quiet'>{privacy}</span></p></div>"
    main, problem = galleries.main, galleries.main.problem
    if problem and not (galleries.ready() or galleries.is_ready(key)):
        return f"<header>{title}</header>{notice(f'There is no gallery to search: {problem}')}"
    below = notice(f"{main.gallery.title} is not here: {problem}") if problem else ""
    return f"<header>{title}<p class='state' role='status'>{_gallery_state(galleries, key)}</p></header>{below}"


def _gallery_state(galleries: Galleries, key: str) -> str:
    preparation = galleries.get(key)
    below = "".join(_coming(galleries.get(other), named=other != key) for other in galleries.keys)
    if not preparation.ready():
        return f"<b>Getting the gallery ready.</b> Search starts by itself when it is.{below}"
    photos = preparation.gallery.photos
    kind = f" {SAMPLE_NOTE}" if photos.name == SAMPLE.name else ""
    if key == SAMPLE.name and not below and galleries.working and not galleries.main.ready():
        below = f"<br>{escape(galleries.main.gallery.title)} is being fetched."
    built_as = f" <span class='quiet'>· version {VERSION} · {preparation.fingerprint()}</span>"
    return f"Gallery: <b>{escape(photos.title)}</b> · {counted(len(photos), 'photo')}{kind} · ready{built_as}{below}"


def _coming(preparation: Preparation, *, named: bool) -> str:
    """What is being prepared for a gallery, and how far it is; empty if nothing is."""
    coming = preparation.under_way()
    if not coming:
        return ""
    labels = ", ".join(RECIPES[name].label for name in coming)
    gallery = f" for {preparation.gallery.title}" if named else ""
    return f"<br>Preparing {escape(labels)}{escape(gallery)}.<br>{escape(progress_line(next(iter(coming.values()))))}"


def gallery_label(preparation: Preparation) -> str:
    """A gallery's name in the choice, with its size once it is there."""
    title = preparation.gallery.title
    if preparation.ready():
        return f"{title} ({counted(len(preparation.gallery.photos), 'photo')})"
    return f"{title} ({'unavailable' if preparation.problem else 'soon'})"


def counted(number: int, what: str) -> str:
    """So many of what is called so in the singular."""
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def switch_label(preparation: Preparation) -> str:
    """What the button to a gallery that has just become ready says."""
    return f"{preparation.gallery.title} is ready: search it"


def progress_line(progress: Progress) -> str:
    """How far a task is: n of m, speed, time left."""
    if progress.unit == "B":
        amount = f"{progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB"
        rate = f"{progress.rate / 1e6:.1f} MB/s"
    else:
        amount = f"{progress.done:,} of {progress.total:,} {progress.unit}"
        rate = f"{progress.rate:.0f} {progress.unit}/s"
    left = progress.seconds_left
    return f"{progress.task}: {amount}" + (f" · {rate} · {duration(left)} left" if left is not None else "")


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"


def index_label(name: str) -> str:
    """An index's name in the choice, with what it lacks where it cannot be used."""
    return name if why_unavailable(name) is None else f"{name} (needs {INDEXES[name].package})"


def index_style() -> str:
    """CSS that disables the indexes that cannot be used here; Gradio's choices have no such thing."""
    unusable = [f'#index label:has(input[value="{name}"])' for name in INDEXES if why_unavailable(name) is not None]
    # Not by opacity, which would leave too little contrast.
    style = "{ color: var(--body-text-color-subdued); border-style: dashed; pointer-events: none; }"
    return f"{', '.join(unusable)} {style}" if unusable else ""


def answer_line(answer: Answer, recall: float) -> str:
    """What came out of a search, in a sentence; or that there was no face, and what to do.

    `recall` is the index's recall@20 against exact search on this gallery.
    """
    if not answer.found_face:
        return notice(
            "No face was found in this photo. A face should be at least 20 pixels wide, upright and not covered; try "
            "another photo, or search with the whole photo."
        )
    steps = answer.timings_ms
    searched = "" if answer.face or not RECIPES[answer.recipe].finds_faces else " with the whole photo"
    count, number = len(answer.faces), answer.face_number
    several = f" This photo shows {count} faces; these are for face {number}." if number and count > 1 else ""
    told = escape(person_line(answer))
    presence = f"<br><span class='presence'>{told}</span>" if told else ""
    nearest = "nearest photo" if len(answer.hits) == 1 else f"{len(answer.hits)} nearest photos"
    return (
        f"<p class='answer' role='status'><b>The {nearest}{searched}</b> · "
        f"{steps['total']:.0f} ms "
        f"<span class='quiet'>(finding the face {steps['detect']:.0f}, embedding {steps['embed']:.0f}, searching by "
        f"{escape(answer.index)} {steps['search']:.1f}, which finds {recall:.1%} of the true 20)</span>{several}"
        f"{presence}</p>"
    )


def every_line(answers: Sequence[Answer]) -> str:
    """What came out of a search with every face of a photo, in a sentence."""
    took = answers[0].timings_ms["detect"] + sum(
        answer.timings_ms["embed"] + answer.timings_ms["search"] for answer in answers
    )
    count = counted(len(answers), "face")
    if len(answers) < len(answers[0].faces):
        count = f"the {len(answers)} largest of {len(answers[0].faces)} faces"
    return f"<p class='answer' role='status'><b>The nearest photos of {count}, a row for each</b> · {took:.0f} ms</p>"


def limit_line(false_alarms: float, beyond: int, count: int) -> str:
    """How often strangers come within the limit, and how many of the results are beyond it, in one sentence."""
    grey = f"{beyond} of {count} results {'is' if beyond == 1 else 'are'} farther"
    alarms = f"<b>{percent(false_alarms)}</b> of searches for people who are not in this gallery"
    return f"<p class='limit-note' role='status'>{alarms} would show a photo this near; {grey}.</p>"


def no_limit_line(*, whole_photo: bool) -> str:
    """Why there is no limit to set, in a few words."""
    why = "on faces, not on whole photos" if whole_photo else "for this model here"
    never = "were only measured" if whole_photo else "were not measured"
    return f"<p class='limit-note quiet'>No limit to set: distances {never} {why}.</p>"


def boxed_alt(answer: Answer) -> str:
    """What the photo with its faces framed shows, for those who do not see it."""
    count, number = len(answer.faces), answer.face_number
    if number is None:
        return "Your photo, without a frame"
    return f"Your photo with {count} faces framed; face {number} is chosen" if count > 1 else "Your photo, face framed"


def hints(sentences: Sequence[str]) -> str:
    """What is wrong with a photo as a query, as a list; empty if nothing is."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<div role='status'><ul class='hints'>{items}</ul></div>" if items else ""


def link(gallery: str, recipe: str, index: str, k: object) -> str:
    """A link to the page with these choices; the photo is not part of it."""
    choices = escape(urlencode({"gallery": gallery, "recipe": recipe, "index": index, "k": k}))
    return f"<a href='?{choices}'>Link to these choices</a> <span class='quiet'>(not to the photo)</span>"


def notice(sentence: str) -> str:
    """A sentence that asks for the visitor's attention."""
    return f"<p class='notice' role='alert'>{escape(sentence)}</p>"


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
