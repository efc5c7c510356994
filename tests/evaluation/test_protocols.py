"""Every protocol on seven photos whose vectors lie on a circle, worked by hand; one photo has no face.

degrees   0    10    -    50    40   105   140
photo     A1   A2    A4   A3    B1    B2    C1
"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.errors import IndexUnavailable
from pipeline.core.types import Neighbours
from pipeline.evaluation import metrics
from pipeline.evaluation.groups import by_groups
from pipeline.evaluation.pairs import Pairs
from pipeline.evaluation.protocols import (
    SPLIT_SEEDS,
    _votes,
    identify,
    judge_indexes,
    retrieve,
    search_people,
    split_accuracy,
)
from pipeline.evaluation.ranking import Ranking, Subject, impostor_limit, rank
from pipeline.evaluation.verification import BINS, verify
from pipeline.indexes.exact import ExactIndex

IDS = ("A1", "A2", "A4", "A3", "B1", "B2", "C1")
DEGREES = np.array([0, 10, 50, 40, 105, 140])


def on_circle(degrees: np.ndarray) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def chord(degrees: float) -> float:
    """The distance of two unit vectors at this angle."""
    return float(2 * np.sin(np.deg2rad(degrees) / 2))


@pytest.fixture
def subject() -> Subject:
    people = np.array([0, 0, 0, 0, 1, 1, 2])
    return Subject(on_circle(DEGREES), np.array([0, 1, -1, 2, 3, 4, 5]), people, IDS, tuple(name[0] for name in IDS))


@pytest.fixture
def ranking(subject: Subject) -> Ranking:
    return rank(subject, limit=chord(20))


@pytest.fixture
def drawn() -> np.ndarray:
    """A bootstrap of one resample, everybody once."""
    return np.ones((1, 3))


def test_what_a_subject_knows(subject: Subject) -> None:
    assert subject.photos.tolist() == [0, 1, 3, 4, 5, 6]
    assert subject.others.tolist() == [3, 3, 3, 3, 1, 1, 0]
    assert subject.photo("B1") == 4


def test_neighbours_by_distance_without_the_query(subject: Subject, ranking: Ranking) -> None:
    photos = np.array(IDS)[subject.photos]
    assert ["".join(row) for row in photos[ranking.rows]] == [
        "A2B1A3B2C1", "A1B1A3B2C1", "B1A2A1B2C1", "A3A2A1B2C1", "C1A3B1A2A1", "B2A3B1A2A1",
    ]  # fmt: skip
    assert ranking.relevant[:2].tolist() == [[True, False, True, False, False]] * 2
    assert ranking.nearest == pytest.approx([chord(angle) for angle in (10, 10, 10, 10, 35, 35)], abs=1e-6)


def test_the_query_is_dropped_by_its_row_and_not_as_the_nearest() -> None:
    twins = np.array([0, 0, 0, 90])
    subject = Subject(on_circle(twins), np.arange(4), np.array([0, 0, 1, 1]), tuple("abcd"), tuple("AABB"))
    assert rank(subject, 1.0).rows.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_pairs_of_each_photo(ranking: Ranking) -> None:
    assert ranking.genuine[:3] == pytest.approx(
        [(chord(a) + chord(b)) / 2 for a, b in ((10, 50), (10, 40), (50, 40))], abs=1e-3
    )
    assert ranking.impostor[3] == pytest.approx(sum(map(chord, (40, 30, 10, 100))) / 4, abs=1e-3)
    assert ranking.misses[:5].tolist() == [1 / 2, 1 / 2, 1, 1, 1]
    assert ranking.matches.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4, 0, 0])
    assert np.isnan([ranking.genuine[5], ranking.misses[5]]).all()


def test_ranking_in_chunks_is_ranking_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(90, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = random.integers(0, 9, 90)
    subject = Subject(vectors, np.arange(90), people, tuple(map(str, range(90))), tuple(map(str, people)))
    whole, seen = rank(subject, 1.2), list[int]()
    monkeypatch.setattr("pipeline.evaluation.ranking.CHUNK", 17)
    parts = rank(subject, 1.2, lambda progress: seen.append(progress.done))
    assert (whole.rows == parts.rows).all()
    assert whole.rows.shape == (90, 50)
    assert parts.matches == pytest.approx(whole.matches)
    assert parts.nearest == pytest.approx(whole.nearest)
    assert seen == [0, 17, 34, 51, 68, 85, 90]
    truth = ExactIndex(vectors).search(vectors, 51)
    assert (truth.rows[:, 1:] == whole.rows).all()


def test_a_limit_lets_its_share_of_impostors_pass(subject: Subject) -> None:
    angles = sorted([40, 30, 10, 105, 95, 55, 140, 130, 90, 100, 35])  # of all pairs of two people
    assert impostor_limit(subject, 0.1, seed=0) == pytest.approx(chord(30), abs=0.01)  # one of eleven below
    assert sum(angle < 30 for angle in angles) == 1
    alone = Subject(subject.vectors[:2], np.arange(2), np.array([0, 0]), ("a", "b"), ("A", "A"))
    assert impostor_limit(alone, 0.1, seed=0) == 0


def test_retrieval(subject: Subject, ranking: Ranking, drawn: np.ndarray) -> None:
    figures, first = retrieve(subject, ranking, drawn)
    assert first.estimate == figures.top1
    # Each person alone in a resample: A1 and A2 of four, neither of B's two, and nobody can be asked for C.
    assert retrieve(subject, ranking, np.eye(3))[1].resamples == pytest.approx([1 / 2, 0, np.nan], nan_ok=True)
    assert figures.queries == 6
    assert figures.top1.value == pytest.approx(2 / 6)  # A1 and A2
    assert figures.recall_at_20.value == pytest.approx((3 * 2 / 3 + 0 + 2) / 6)  # A4 is never found and finds nothing
    assert figures.r_precision.value == pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 6)
    assert figures.map_at_r.value == pytest.approx((5 / 9 + 5 / 9 + 7 / 18) / 6)
    assert figures.precision_at_20 == pytest.approx(8 / 120)
    assert figures.precision_ceiling == pytest.approx(14 / 120)
    assert figures.chance == pytest.approx(14 / 36)
    assert figures.cmc == pytest.approx([2 / 6, 3 / 6, 4 / 6, 5 / 6, 5 / 6])


def test_open_set(subject: Subject, ranking: Ranking, drawn: np.ndarray) -> None:
    figures = identify(subject, ranking, drawn)
    assert figures is not None
    assert (figures.queries, figures.impostors) == (6, 1)
    assert figures.limit == pytest.approx(chord(35), abs=1e-6)  # C1 is told to be B2 from there on
    assert figures.identified.value == pytest.approx(2 / 6)
    everybody = Subject(subject.vectors, subject.rows, np.array([0, 0, 0, 0, 1, 1, 1]), IDS, subject.names)
    assert identify(everybody, rank(everybody, 1.0), drawn) is None


def test_an_impostor_without_a_face_raises_no_alarm(subject: Subject, drawn: np.ndarray) -> None:
    people = np.array([0, 0, 3, 0, 1, 1, 2])  # A4 is somebody else
    figures = identify(
        Subject(subject.vectors, subject.rows, people, IDS, subject.names), rank(subject, 1.0), np.ones((1, 4))
    )
    assert figures is not None
    assert (figures.impostors, figures.limit) == (2, pytest.approx(chord(35), abs=1e-6))


def test_the_three_nearest_that_are_known_vote(ranking: Ranking, subject: Subject) -> None:
    people = subject.people[subject.photos]
    known = np.array([False, True, True, False, True, True])  # all but A1 and B1
    assert _votes(ranking, known, people).tolist() == [0, 0, 0, 0, 0, 0]
    known = np.array([False, False, False, False, True, True])  # B2 and C1: the nearer one of a tie
    assert _votes(ranking, known, people).tolist() == [1, 1, 1, 1, 2, 1]


def test_the_split_agrees_with_a_plain_loop(drawn: np.ndarray) -> None:
    random = np.random.default_rng(1)
    vectors = on_circle(random.random(40) * 360)
    rows = np.insert(np.arange(40), 20, -1)
    people = random.integers(0, 12, 41)
    subject = Subject(vectors, rows, people, tuple(map(str, range(41))), tuple(map(str, people)))
    figures, resampled = split_accuracy(subject, rank(subject, 1.0), np.ones((1, 12)))
    assert resampled.estimate == figures.accuracy
    assert figures.accuracy.value == pytest.approx(np.mean(figures.accuracies))
    for seed, accuracy, ceiling in zip(SPLIT_SEEDS, figures.accuracies, figures.ceilings, strict=True):
        tested = np.random.default_rng(seed).permutation(41)[:8]
        train = [photo for photo in range(41) if photo not in tested]
        right = 0
        for photo in tested:
            if rows[photo] < 0:
                continue
            known = [other for other in train if rows[other] >= 0]
            known.sort(key=lambda other, photo=photo: np.linalg.norm(vectors[rows[other]] - vectors[rows[photo]]))
            votes = [people[other] for other in known[:3]]
            right += max(votes, key=lambda vote, votes=votes: (votes.count(vote), -votes.index(vote))) == people[photo]
        assert accuracy == right / 8
        assert ceiling == sum(people[photo] in people[train] for photo in tested) / 8
    assert len(set(figures.accuracies)) > 1
    assert figures.accuracy.value == pytest.approx(np.mean(figures.accuracies))
    assert figures.spread == pytest.approx(np.std(figures.accuracies, ddof=1))


def test_people_searched_for(subject: Subject, ranking: Ranking) -> None:
    first, faceless = search_people(subject, ranking, ("A1", "A4"))
    assert (first.person, first.found, first.of) == ("A", 3, 4)
    assert first.hits == ("A1", "A2", "B1", "A3", "B2", "C1")
    assert first.right == (True, True, False, True, False, False)
    assert (faceless.found, faceless.of, faceless.hits) == (0, 4, ())


class Blind:
    """An index that never sees the nearest photo."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._exact = ExactIndex(vectors)

    def __len__(self) -> int:
        return len(self._exact)

    def search(self, vectors: np.ndarray, k: int) -> Neighbours:
        found = self._exact.search(vectors, k + 1)
        keep = [0, *range(2, found.rows.shape[1])]  # the query itself, then from the second on
        return Neighbours(found.rows[:, keep], found.distances[:, keep])


class Down(Blind):
    """An index whose server does not answer."""

    def search(self, vectors: np.ndarray, k: int) -> Neighbours:
        raise IndexUnavailable("The server is down.")


def test_what_an_index_loses(subject: Subject) -> None:
    indexes = {"exact": ExactIndex(subject.vectors), "blind": Blind(subject.vectors), "down": Down(subject.vectors)}
    (exact, blind), unavailable = judge_indexes(subject, indexes)
    assert unavailable == {"down": "The server is down."}
    assert (exact.index, exact.recall_at_20, exact.top1_lost, exact.queries) == ("exact", 1, 0, 5)
    assert exact.top1 == pytest.approx(2 / 5)
    assert blind.recall_at_20 == pytest.approx(4 / 5)
    assert blind.top1 == pytest.approx(1 / 5)  # A3, whose second is A2
    assert blind.top1_lost == pytest.approx(1 / 5)


def pairs_of(*rows: tuple[str, str, bool, int]) -> Pairs:
    return Pairs(
        tuple((first, second) for first, second, _, _ in rows),
        np.array([same for _, _, same, _ in rows]),
        np.array([fold for _, _, _, fold in rows]),
        "here",
    )


def test_verification(subject: Subject, drawn: np.ndarray) -> None:
    # degrees    10                   40                    65                   105
    fold_1 = ("A1", "A2", True, 1), ("A1", "B1", False, 1), ("B1", "B2", True, 1), ("A1", "B2", False, 1)
    # degrees    50                   30                    no face              no face
    fold_2 = ("A1", "A3", True, 2), ("A2", "B1", False, 2), ("A1", "A4", True, 2), ("A4", "C1", False, 2)
    figures, resampled = verify(subject, pairs_of(*fold_1, *fold_2), drawn)
    assert resampled.estimate == figures.accuracy
    # By fold 2, accepting nothing or everything is wrong once: the latter, half a unit above. By fold 1, a cut after 10
    # or after 65 is wrong once: the latter.
    assert figures.thresholds == pytest.approx([chord(50) + 0.5, (chord(65) + chord(105)) / 2], abs=1e-6)
    assert figures.folds == (0.75, 0.25)  # wrong about 40; about 30 and both that cannot be compared
    assert figures.accuracy.value == pytest.approx(1 / 2)
    assert figures.standard_error == pytest.approx(1 / 4)
    assert (figures.pairs, figures.compared) == (8, 6)
    assert figures.auc == pytest.approx((3 + 1 + 1 + 0) / 16)
    assert figures.tar_at_far_1e2 == 0  # the one without a face is always accepted
    assert figures.roc == ((1 / 4, 1 / 4), (2 / 4, 1 / 4), (3 / 4, 3 / 4), (1, 3 / 4))
    assert sum(figures.genuine_histogram) == sum(figures.impostor_histogram) == 3
    assert figures.genuine_histogram[int(chord(65) / 2 * BINS)] == 1
    assert figures.impostor_histogram[int(chord(30) / 2 * BINS)] == 1
    assert [(error.photo_ids, error.distance) for error in figures.false_misses] == [(("A1", "A4"), None)]
    faceless, *matches = figures.false_matches
    assert (faceless.photo_ids, faceless.distance) == (("A4", "C1"), None)
    assert [error.photo_ids for error in matches] == [("A2", "B1"), ("A1", "B1")]  # the closest first
    assert matches[0].people == ("A", "B")
    assert matches[0].distance == pytest.approx(chord(30), abs=1e-6)


def test_groups(subject: Subject, ranking: Ranking) -> None:
    qualities = {"brightness": np.array([1, 2, 3, 4, 5, 6, np.nan]), "nothing": np.full(7, np.nan)}
    groups = by_groups(subject, ranking, qualities)
    assert [(group.attribute, group.label, group.photos) for group in groups] == [
        ("photos of the person", "1", 1),
        ("photos of the person", "2 to 3", 2),
        ("photos of the person", "4 to 9", 4),
        ("photos of the person", "10 or more", 0),
        ("brightness", "lowest quarter (1 to 2.25)", 2),
        ("brightness", "second quarter (2.25 to 3.5)", 1),
        ("brightness", "third quarter (3.5 to 4.75)", 1),
        ("brightness", "highest quarter (4.75 to 6)", 2),
    ]
    single, two, four, none, lowest, second, *_ = groups
    assert (single.top1_error, single.miss_rate, single.genuine_distance) == (None, None, None)
    assert single.impostor_distance == pytest.approx(float(ranking.impostor[5]))
    assert (two.top1_error, four.top1_error) == (1, 1 / 2)
    assert four.miss_rate == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert four.match_rate == pytest.approx(1 / 9)
    assert four.genuine_distance == pytest.approx(float(ranking.genuine[:3].mean()))
    assert none.top1_error is none.match_rate is None
    assert lowest.top1_error == 0
    assert (second.photos, second.top1_error, second.impostor_distance) == (1, 1, None)  # A4 has no face


def test_edges_of_groups_are_written_so_that_they_differ(subject: Subject, ranking: Ranking) -> None:
    close = by_groups(subject, ranking, {"c": np.array([0.9, 0.99991, 0.99993, 0.99995, 0.99997, 0.99999, 1])})
    assert close[4].label == "lowest quarter (0.9 to 0.99992)"
    alike = by_groups(subject, ranking, {"c": np.ones(7)})
    assert alike[-1].label == "highest quarter (1 to 1)"


def test_the_worst_errors_come_first(subject: Subject, drawn: np.ndarray) -> None:
    # degrees: one person 10, 50, 65; two people 30, 35, 40, 105. The best cut is between 10 and 30, in either fold.
    one = [("A1", "A2"), ("A1", "A3"), ("B1", "B2")]
    two = [("A2", "B1"), ("B2", "C1"), ("A1", "B1"), ("A1", "B2")]
    rows = [(*ends, ends in one, fold) for fold in (1, 2) for ends in one + two]
    figures, _ = verify(subject, pairs_of(*rows), drawn)
    assert [error.photo_ids for error in figures.false_misses] == [("B1", "B2")] * 2 + [("A1", "A3")] * 2
    assert figures.false_matches == ()


def test_a_photo_without_a_face_finds_nobody(drawn: np.ndarray) -> None:
    # The last vector's neighbours are right ones, and not to be taken for those of the photo without a vector.
    subject = Subject(on_circle(np.array([0, 10])), np.array([0, -1, 1]), np.zeros(3, int), tuple("abc"), tuple("AAA"))
    ranking = rank(subject, 1.0)
    assert retrieve(subject, ranking, np.ones((1, 1)))[0].top1.value == pytest.approx(2 / 3)
    groups = {group.label: group for group in by_groups(subject, ranking, {})}
    assert groups["2 to 3"].top1_error == pytest.approx(1 / 3)


def test_the_interval_is_over_people_and_not_over_photos() -> None:
    # Two people: one all right with many photos, one all wrong with two.
    people = np.array([0] * 20 + [1] * 2)
    values = np.array([1.0] * 20 + [0.0] * 2)
    estimate = metrics.mean_over_people(values, people, metrics.resampled_people(2, 200, 0)).estimate
    assert (estimate.low, estimate.high) == (0, 1)
