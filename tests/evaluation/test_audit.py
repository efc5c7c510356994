"""The audit of names: what two networks must agree on, each kind of mistake, and mistakes planted at known places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.geometry import unit_rows
from pipeline.core.types import FloatArray
from pipeline.embeddings.corrections import Correction, Corrections
from pipeline.embeddings.store import Embeddings
from pipeline.evaluation.audit import Finding, Names, View, audit, names_of, same_pictures
from pipeline.photos.folders import folder_photos
from pipeline.photos.photos import Photos
from pipeline.search.calibration import Calibration, shipped
from tests.fakes import make_people, portrait
from tests.plants import KINDS, plant

COMPACT = next(known for known in shipped() if known.recipe == "mtcnn-reid")
FACENET = next(known for known in shipped() if known.recipe == "mtcnn-facenet")


def seen(people: Sequence[str], calibration: Calibration, seed: int, spread: float = 0.5) -> FloatArray:
    """Vectors as a network has them: a direction for each person, and noise; those of one person are 0.63 apart."""
    rng = np.random.default_rng(seed)
    directions = {person: rng.normal(size=256) for person in sorted(set(people))}
    return unit_rows(np.stack([directions[each] + spread * rng.normal(size=256) for each in people]).astype(np.float32))


def views_of(people: Sequence[str]) -> list[View]:
    return [View(seen(people, each, seed), each) for seed, each in enumerate((COMPACT, FACENET))]


def named(people: Sequence[str]) -> Names:
    return Names(tuple(f"{number}" for number in range(len(people))), tuple(people))


def told(findings: Sequence[Finding]) -> list[tuple[str, str, str]]:
    return [(each.correction.kind, each.correction.photo, each.correction.name) for each in findings]


TRUE = ("ann",) * 4 + ("bob",) * 4 + ("cy",) * 4


def test_names_without_a_mistake_are_left_alone() -> None:
    assert audit(views_of(TRUE), named(TRUE)) == []


def test_one_person_under_two_names() -> None:
    given = ("ann", "ann", "ann", "dora", *TRUE[4:])
    (found,) = audit(views_of(TRUE), named(given))
    assert (found.correction.kind, {found.correction.photo, found.people[0]}) == ("merge", {"3", "dora"})
    assert found.people == ("dora", "ann")
    assert 0.2 < found.sure < 1


def test_a_photo_whose_face_is_not_the_named_one_takes_the_other_s_name() -> None:
    assert told(audit(views_of(TRUE), named(("ann", "ann", "ann", "bob", *TRUE[4:])))) == [("rename", "3", "ann")]


def test_photos_take_the_name_of_somebody_who_has_fewer() -> None:
    people = ("ann",) * 3 + ("bob",) * 4
    findings = audit(views_of(people), named(("ann", *("bob",) * 6)))
    assert sorted(told(findings)) == [("rename", "1", "ann"), ("rename", "2", "ann")]


def test_two_people_under_one_name() -> None:
    given = ("bob", "bob", "bob", "bob", "bob", "bob", *TRUE[6:8], *TRUE[8:])
    people = ("ann",) * 2 + ("bob",) * 6 + ("cy",) * 4
    assert sorted(told(audit(views_of(people), named(given)))) == [("split", "0", "bob (2)"), ("split", "1", "bob (2)")]


@pytest.mark.parametrize("given", [("ann", "ann", "ann", "dora", *TRUE[4:]), ("ann", "ann", "ann", "bob", *TRUE[4:])])
def test_nothing_is_listed_that_one_network_denies(given: tuple[str, ...]) -> None:
    views = views_of(TRUE)
    as_named = View(seen(given, FACENET, 7), FACENET)
    assert audit([views[0], views[0]], named(given))
    assert audit([views[0], as_named], named(given)) == []
    assert audit([as_named, views[0]], named(given)) == []


def test_what_was_decided_is_not_listed_again() -> None:
    merge, rename = ("ann", "ann", "ann", "dora", *TRUE[4:]), ("ann", "ann", "ann", "bob", *TRUE[4:])
    twins = replace(named(merge), decided_people=frozenset([frozenset(("ann", "dora"))]))
    assert audit(views_of(TRUE), twins) == []
    assert audit(views_of(TRUE), replace(named(rename), decided_photos=frozenset("3"))) == []


@pytest.mark.parametrize("name", ["Wang Yingfan", "Yingfan-Wang", "Ying Fan Wang", "Yingfang Wang", "Wang"])
def test_names_that_are_alike_need_less(name: str) -> None:
    """A pair of photos like the pairs of strangers that look most alike is listed for the sake of its names."""
    views = [View(np.eye(4, dtype=np.float32)[:2], each) for each in (COMPACT, FACENET)]
    for view in views:
        distance = view.calibration.middle * (1 - 0.23)
        view.vectors[1, :2] = 1 - distance**2 / 2, np.sqrt(1 - (1 - distance**2 / 2) ** 2)
    for both in (("Yingfan Wang", name), (name, "Yingfan Wang")):
        assert [each.correction.kind for each in audit(views, named(both))] == ["merge"]
    assert audit(views, named(("Yingfan Wang", "Koichiro Matsuura"))) == []


def test_the_same_picture_is_listed_whatever_the_networks_say() -> None:
    (found,) = audit(views_of(("ann", "bob")), named(("ann", "bob")), [(0, 1)])
    assert (found.correction.kind, found.correction.reason) == ("merge", "the same picture")


def test_pictures_are_the_same_though_they_were_saved_again(tmp_path: Path) -> None:
    make_people(tmp_path)
    again = portrait(0, 1).resize((200, 200))
    again.save(tmp_path / "Bruno" / "again.jpg", quality=50)
    again.save(tmp_path / "Ada" / "again.jpg")  # under one name: no mistake
    photos = folder_photos(tmp_path)
    names = Names(photos.photo_ids, photos.people)
    pairs = {frozenset(names.photo_ids[row] for row in pair) for pair in same_pictures(photos, names)}
    assert frozenset(("Ada/1.png", "Bruno/again.jpg")) in pairs
    assert all("Bruno/again.jpg" in pair for pair in pairs if {row.split("/")[0] for row in pair} == {"Ada", "Bruno"})


def embedded(*photo_ids: str) -> Embeddings:
    rows = len(photo_ids)
    vectors, faces = np.eye(rows, 4, dtype=np.float32), np.zeros((rows, 15), np.float32)
    return Embeddings(Path(), vectors, faces, photo_ids, photo_ids, photo_ids, {})


def test_only_named_photos_that_both_networks_saw_are_audited() -> None:
    photos = Photos(
        ("g", "G"), [("a", "Ann"), ("b", "Bob"), ("c", "unknown"), ("d", "Cy")], ("r", "abcd"), lambda _: b""
    )
    corrections = Corrections((Correction("rename", "b", name="Dora"), Correction("drop", "d")))
    names = names_of([embedded("a", "b", "c", "d"), embedded("d", "c", "b", "a")], photos, corrections)
    assert (names.photo_ids, names.people) == (("a", "b"), ("Ann", "Dora"))
    assert names.decided_photos == {"b", "d"}
    with pytest.raises(SettingsError, match="no names to audit"):
        names_of([embedded("a"), embedded("a", "b")], photos, corrections)


def test_planted_mistakes_are_found() -> None:
    """In a gallery of 300 people like LFW's: of each kind nearly all, and hardly anything besides."""
    rng = np.random.default_rng(1)
    people = [str(rng.bytes(6).hex()) for _ in range(300)]
    people = [person for person in people for _ in range(rng.integers(1, 9))]
    names, plants = plant(named(people), 90, seed=2)
    findings = audit(views_of(people), names)
    for kind in KINDS:
        found = [each.is_found(findings) for each in plants if each.kind == kind]
        assert sum(found) >= 0.95 * len(found), kind
    touched = {photo for each in plants for side in each.photos for photo in side}
    assert not [each for each in findings if touched.isdisjoint((each.correction.photo, each.correction.other))]
