"""The audit on LFW: what it lists is wrong, what is wrong it lists, and it finds what was planted.

A part of LFW takes 30 seconds once it is built; with `--all` it is the figures of pipeline/evaluation/README.md.
"""

from __future__ import annotations

import sys

import pytest

from pipeline.core.errors import PipelineError
from pipeline.embeddings.corrections import LFW_ERRATA, Corrections
from pipeline.galleries.gallery import Gallery
from pipeline.photos.photos import Photos
from tests.lfw.audit_figures import PLANTED, RECIPES, measure, table

pytestmark = [pytest.mark.lfw, pytest.mark.timeout(4500)]

PLANTED_IN_PART = 60
# Photos and pairs that are called mistakes in public: the page of LFW (Carlos Beltran; by its authors' page on the
# pairs that no network gets right, Jim OBrien), github.com/jackgrimes/face-distance-investigation, the five pairs of
# View 2 that evaluation code leaves out, two reports on searches of LFW.
PUBLIC = """
Carlos_Beltran_0001 Jim_OBrien_0001 Ricky_Ray_0001 Bart_Hendricks_0001 Raul_Ibanez_0001 Emmy_Rossum_0001
Gabrielle_Rose_0001 Andrew_Caldecott_0001 Anja_Paerson_0001 Michael_Schumacher_0008 Recep_Tayyip_Erdogan_0004
Janica_Kostelic_0001 James_Becker_0001 Franklin_Damann_0001 Vecdi_Gonul_0001 Abdullah_Gul_0012 Morgan_Hentzen_0001
Colin_Powell_0206 Tung_Chee-hwa_0001 Mahmoud_Abbas_0021 Hans_Blix_0026 Mahathir_Mohamad_0009 Felipe_De_Borbon_0001
Noer_Muis_0001 Takahiro_Mori_0001 Yingfan_Wang_0001 Sung_Hong_Choi_0001 Dai_Chul_Chyung_0001 John_Burnett_0001
Hassan_Wirajuda_0002 Hu_Jintao_0005 Carlos_Ruckauf_0001 Wang_Nan_0001 Tia_Mowry_0001 Nora_Bendijo_0002
Elisabeth_Schumacher_0001 Joseph_Blatter_0002 Flor_Montulo_0002
"""


@pytest.fixture(scope="module")
def built(gallery: Gallery) -> Gallery:
    """The gallery, built with the two networks that audit unasked."""
    try:
        gallery.build(RECIPES)
    except PipelineError as error:
        pytest.skip(f"needs both networks: {error}")
    return gallery


def test_the_audit_is_right_and_misses_little(built: Gallery, full: bool) -> None:
    figures = measure(built, PLANTED if full else PLANTED_IN_PART)
    sys.stdout.write(table(figures))
    assert figures.planted_share >= 0.95
    if full:
        assert figures.right[0] >= 0.8 * figures.right[1]
        assert figures.found[0] >= 0.8 * figures.found[1]
    else:  # of whose names two are known to be wrong, and one of these is beyond the audit
        assert (figures.wrong, figures.missing) == ([], ["Flor_Montulo_0002 Nora_Bendijo_0001"])


def test_what_is_known_in_public_is_in_our_errata(built: Gallery) -> None:
    """Accepted, or rejected with the reason why."""
    rows = Corrections.load(LFW_ERRATA).rows
    ours = {photo for row in rows for photo in row.photos}
    assert set(PUBLIC.split()) <= ours
    assert all(row.status and row.reason and row.source for row in rows)


def test_every_row_is_about_photos_of_lfw(gallery: Gallery, full: bool) -> None:
    if not full:
        pytest.skip("a part of LFW has not all of its photos: --all has")
    photos: Photos = gallery.photos
    rows = Corrections.load(LFW_ERRATA).rows
    assert all(photos.row_of(photo) is not None for row in rows for photo in row.photos)
    assert all(row.name in photos.people for row in rows if row.kind == "rename")
