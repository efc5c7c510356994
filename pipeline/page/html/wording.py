"""What the page says, as text and HTML: states, captions, sentences. Plain functions, so that words can be tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from pipeline.core.progress import Progress
from pipeline.core.recipes import IMPROVED, RECIPES
from pipeline.core.settings import SAMPLE, VERSION
from pipeline.core.types import Answer, Hit
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.own_gallery import OwnGallery, Told
from pipeline.galleries.preparation import Preparation, Status
from pipeline.indexes.registry import INDEXES, why_unavailable
from pipeline.page.html.sources import TEMPLATES
from pipeline.page.roles import ROLES, role_of
from pipeline.photos.face_ids import in_a_photo_of

TITLE = "Reverse Face Search"
CROP_ALT = "what the network sees of your photo"
LIMIT_LABEL = "Only look alike, farther than"
NO_FACE_LIVE = "No face is seen; come nearer, into the light, and look into the camera."
INDEX_NOTE = "\n".join(f"{name}: {kind.summary}" for name, kind in INDEXES.items())


def caption(hit: Hit) -> str:
    """A result's caption: rank and name, and below them the distance and, where there is one, the verdict."""
    note = ", the same photo" if hit.is_query else f", {hit.verdict.words}" if hit.verdict else ""
    return f"{hit.rank} · {hit.person}\ndistance {hit.distance:.2f}{note}"


def percent(share: float) -> str:
    """A share as a whole percentage that claims no certainty."""
    if share < 0.01:
        return "under 1 %"
    return "over 99 %" if share > 0.99 else f"{round(100 * share)} %"


def model_label(recipe: str, status: Status) -> str:
    """A model's name in the choice, with its state where that is not simply ready, and what it is."""
    notes = {"unasked": "not prepared yet", "ready": "", "unavailable": "unavailable"}
    note = "custom weights" if status.custom_weights else notes.get(status.state, "soon")
    label, summary = RECIPES[recipe].label, RECIPES[recipe].summary
    return f"{label} ({note}) · {summary}" if note else f"{label} · {summary}"


def missing_line(reasons: Mapping[str, str]) -> str:
    """The models that cannot be had, with the reasons, by recipe; empty where there are all."""
    return TEMPLATES("missing", models=[(RECIPES[name].label, reason) for name, reason in reasons.items()])


NETWORKS = {"baseline": "ResNet-50", "improved": "FaceNet"}  # that the positions of the switch are meant for

# Measured by `evaluate` on all of LFW: open-set identification at a false-alarm rate of 1 %, 97 % and 88 %.
FINDS_MORE = "Compact, under More models, names more people rightly."


def model_note(recipe: str, role: str | None, status: Status, *, lacking: bool = False) -> str:
    """What is searched with, and why it cannot be used where it cannot; or whom it stands in for.

    `lacking`: what the role is meant for cannot be had, and is not only on its way.
    """
    reason = status.reason if status.state == "unavailable" else ""
    stands_in = NETWORKS[role] if role and role_of(recipe) != role else ""
    summary, label = RECIPES[recipe].summary, RECIPES[recipe].label
    more = FINDS_MORE if (role, recipe) == ("improved", IMPROVED) and not reason else ""
    said = {"summary": summary, "label": label, "stands_in": stands_in, "lacking": lacking, "more": more}
    return TEMPLATES("note", **said, reason=reason, custom=status.custom_weights)


def note_of(preparation: Preparation, recipe: str, role: str | None) -> str:
    """The same of a recipe as it stands in a gallery."""
    lacking = preparation.status(ROLES[role][0] if role else recipe).state == "unavailable"
    return model_note(recipe, role, preparation.status(recipe), lacking=lacking)


def header(galleries: Galleries, key: str) -> str:
    """The top of the page: what this is, and where the gallery of this key, and the one to come, stand."""
    main, problem, shown = galleries.main, galleries.main.problem, galleries.get(key)
    nothing = bool(problem) and not (galleries.ready() or shown.ready())
    if problem:
        what = "There is no gallery to search" if nothing else f"{main.gallery.title} is not here"
        problem = f"{what}: {problem}"
    coming = [line for other in galleries.keys for line in _coming(galleries.get(other), named=other != key)]
    if key == SAMPLE.name and not coming and galleries.working and not main.ready():
        coming = [f"{main.gallery.title} is being fetched."]
    return TEMPLATES(
        "header",
        title=TITLE,
        own=galleries.own is not None,
        problem=problem,
        nothing=nothing,
        coming=coming,
        photos=shown.gallery.photos if shown.ready() else None,
    )


def about(preparation: Preparation) -> str:
    """The gallery as it stands, and the version; empty until it can be searched."""
    photos = preparation.gallery.photos if preparation.ready() else None
    return TEMPLATES("about", photos=photos, sample=SAMPLE.name, version=VERSION, fingerprint=preparation.fingerprint())


def _coming(preparation: Preparation, *, named: bool) -> list[str]:
    """What is being prepared for a gallery, and how far it is; nothing if nothing is."""
    coming = preparation.under_way()
    if not coming:
        return []
    labels = ", ".join(RECIPES[name].label for name in coming)
    gallery = f" for {preparation.gallery.title}" if named else ""
    return [f"Preparing {labels}{gallery}.", progress_line(next(iter(coming.values())))]


def gallery_label(preparation: Preparation) -> str:
    """A gallery's name in the choice, with its size once it is there."""
    title = preparation.gallery.title
    if preparation.ready():
        return f"{title} · {counted(len(preparation.gallery.photos), 'photo')}"
    return f"{title} · {'unavailable' if preparation.problem else 'soon'}"


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
    if (reason := why_unavailable(name)) is None:
        return name
    return f"{name} (needs {INDEXES[name].package})" if " needs " in reason else f"{name} (does not run here)"


def index_style() -> str:
    """CSS that disables the indexes that cannot be used here; Gradio's choices have no such thing."""
    unusable = [f'#index label:has(input[value="{name}"])' for name in INDEXES if why_unavailable(name) is not None]
    # Not by opacity, which would leave too little contrast.
    style = "{ color: var(--body-text-color-subdued); border-style: dashed; pointer-events: none; }"
    return f"{', '.join(unusable)} {style}" if unusable else ""


CERTAINTY = {"very likely": "Very likely", "likely": "Likely", "unclear": "Perhaps"}


def answer_line(answer: Answer, recall: float, of_person: int = 0, changed: str = "") -> str:
    """Who it is and how sure, in a sentence; or that there was no face, and what to do.

    `recall` is the index's recall@20 against exact search on this gallery, `of_person` how many photos it has of the
    person named first, where it says who is in it; `changed` says what another model's answer was.
    """
    unnamed = answer.person is not None and not answer.person.named
    who = in_photo(answer.who) if unnamed else answer.who
    certainty = CERTAINTY.get(answer.person.words, "") if answer.person else ""
    found = found_line(answer, answer.who, of_person) if of_person else ""
    if answer.probably_absent:
        found = f"most like {'a face ' if unnamed else ''}{who}"
    chance = percent(answer.person.probability) if answer.person else ""
    said = {"recall": recall, "who": who, "certainty": certainty, "found": changed or found, "chance": chance}
    return TEMPLATES("answer", answer=answer, **said)


def person_line(answer: Answer) -> str:
    """Who it is and how sure, as plain text; empty where nothing is known."""
    if answer.person is None:
        return ""
    certainty = CERTAINTY.get(answer.person.words)
    who = answer.who if answer.person.named else f"the person {in_photo(answer.who)}"
    return f"{certainty} {who}" if certainty else "Probably nobody in this gallery"


def in_photo(who: str) -> str:
    """Where a face that nobody named is: its photo's folder or file is what it is called by."""
    return who if who.startswith(in_a_photo_of("")) else f"in {who}"


def found_line(answer: Answer, person: str, photos: int) -> str:
    """How many of the person's photos are among the results."""
    theirs = [hit for hit in answer.hits if hit.person == person]
    query = ", your photo one of them" if any(hit.is_query for hit in theirs) else ""
    return f"{len(theirs)} of {counted(photos, 'photo')} found{query}"


def every_line(answers: Sequence[Answer]) -> str:
    """What came out of a search with every face of a photo, in a sentence."""
    took = answers[0].timings_ms["detect"] + sum(
        answer.timings_ms["embed"] + answer.timings_ms["search"] for answer in answers
    )
    count = counted(len(answers), "face")
    if len(answers) < len(answers[0].faces):
        count = f"the {len(answers)} largest of {len(answers[0].faces)} faces"
    return TEMPLATES("every", count=count, took=took)


def limit_line(false_alarms: float, beyond: int, count: int) -> str:
    """How often strangers come within the limit, and how many of the results are beyond it, in one sentence."""
    return TEMPLATES("limit", alarms=percent(false_alarms), beyond=beyond, count=count)


def no_limit_line(*, whole_photo: bool) -> str:
    """Why there is no limit to set, in a few words."""
    return TEMPLATES("no_limit", whole_photo=whole_photo)


def hints(sentences: Sequence[str]) -> str:
    """What is wrong with a photo as a query, as a list; empty if nothing is."""
    return TEMPLATES("hints", sentences=sentences)


def link(gallery: str, recipe: str, index: str, k: object) -> str:
    """A link to the page with these choices; the photo is not part of it."""
    return TEMPLATES("link", choices=urlencode({"gallery": gallery, "recipe": recipe, "index": index, "k": k}))


def notice(sentence: str) -> str:
    """A sentence that asks for the visitor's attention."""
    return TEMPLATES("notice", sentence=sentence)


TAB = "My photos"
KEEP = "Keep on this computer"
KEEP_NOTE = "Kept photos are offered again in this browser, also after a restart, until you remove them."


def state(gallery: OwnGallery | None) -> str:
    """Where the visitor's own gallery stands: how far it is, what is in it, what went wrong; empty if there is none."""
    if gallery is None:
        return ""
    count = len(gallery.photo_ids)
    said = f"{counted(count, 'photo')} can be searched." if count else ""
    if gallery.working:
        said = progress_line(gallery.progress) if gallery.progress else "Reading your photos."
    elif gallery.told is not None:
        said = told_line(gallery.told)
    return TEMPLATES("own", problem=gallery.problem, said=said)


def told_line(told: Told) -> str:
    """What came of a drop, in a few sentences."""
    sentences = [f"{counted(told.faces, 'face')} in {counted(told.photos, 'photo')} can be searched."]
    if told.faceless:
        sentences.append(f"In {counted(told.faceless, 'photo')} no face was found.")
    reasons = Counter(reason for _, reason in told.taken.left_out)
    sentences += [f"{counted(number, 'file')} left out: {reason}." for reason, number in reasons.most_common()]
    if told.taken.known:
        were = "photo was" if told.taken.known == 1 else "photos were"
        sentences.append(f"{told.taken.known:,} {were} there already.")
    return " ".join(sentences)
