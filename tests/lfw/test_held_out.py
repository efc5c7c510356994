"""How the network that was trained here is judged by people who can be held out."""

from __future__ import annotations

import pytest

from pipeline.core.recipes import MINI, recipe_named
from pipeline.core.types import Network
from pipeline.encoder.networks import open_network
from pipeline.encoder.weights import PACKAGED, Weights
from pipeline.evaluation.pairs import Pairs
from pipeline.galleries.gallery import Gallery
from pipeline.training.distil import judge
from tests.fakes import TinyNetwork


@pytest.mark.lfw
def test_a_network_is_judged_by_the_people_who_can_be_held_out(
    gallery: Gallery, pairs: Pairs, full: bool, reid_weights: Weights
) -> None:
    """The network in the package was shown them too; what is said of it must not be said of one that is noise."""
    gallery.build(["mtcnn-reid"])
    embeddings = gallery.searcher("mtcnn-reid").embeddings

    def judged(network: Network) -> tuple[float, float]:
        found = judge(network, recipe_named(MINI), embeddings, gallery.photos, pairs)
        assert (found.people, found.pairs) == ((1_150, 1_214) if full else (170, 250))
        return found.student, found.teacher

    ours, teacher = judged(open_network(recipe_named(MINI), Weights("mini", (PACKAGED["mini"],), "", custom=False)))
    assert ours > 0.985
    assert teacher > (0.99 if full else 0.98)  # of 250 pairs in the part: three wrong are 0.988
    assert judged(TinyNetwork(recipe_named(MINI).dim))[0] < 0.7
