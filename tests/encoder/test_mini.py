"""This project's own network: what lies in the package, how it is made of its teacher, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save
from torch.nn import functional

from pipeline.core.errors import WeightsError
from pipeline.core.recipes import MINI as RECIPE
from pipeline.core.recipes import recipe_named
from pipeline.core.settings import SAMPLE, Settings
from pipeline.embeddings.store import Embeddings
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.mini import MINI, Block, Shape
from pipeline.encoder.networks import open_network
from pipeline.encoder.weights import PACKAGED, Weights
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.training import augmentation, distil
from pipeline.training.augmentation import Source, Views
from pipeline.training.mini_net import MiniNet, save_mini
from pipeline.training.teacher import TEACHER, pruned, read_teacher
from tests.fakes import TinyNetwork

WEIGHTS = PACKAGED["mini"]


def load_mini(path: Path) -> MiniNet:
    """The network of the file, as torch runs it."""
    network = MiniNet(MINI).eval()
    network.load_state_dict({name: torch.from_numpy(array).float() for name, array in load_file(path).items()})
    return network


def noise(count: int, side: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)) for _ in range(count)]


def pixels(crops: list[Image.Image]) -> torch.Tensor:
    return distil.network_input(np.stack([np.asarray(crop) for crop in crops]))


def test_the_network_in_the_package_is_as_small_as_it_is_said_to_be() -> None:
    assert WEIGHTS.stat().st_size < 2_500_000
    assert sum(tensor.numel() for tensor in load_mini(WEIGHTS).parameters()) < 1_200_000


def test_openvino_runs_what_torch_describes() -> None:
    crops = noise(5, MINI.side)
    mini = open_network(recipe_named(RECIPE), Weights("mini", (WEIGHTS,), "", custom=False))
    found = mini.embed(crops)
    with torch.inference_mode():
        expected = load_mini(WEIGHTS)(pixels(crops)).numpy()
    assert found.shape == (5, MINI.dim)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.allclose(found[3:4], mini.embed(crops[3:4]), atol=1e-5), "alone as among others"


def test_a_network_is_kept_in_half_precision(tmp_path: Path) -> None:
    network = MiniNet(MINI)
    save_mini(network, tmp_path / "mini.safetensors", {"steps": "1"})
    kept = load_mini(tmp_path / "mini.safetensors").state_dict()
    assert {name: tensor.shape for name, tensor in kept.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    assert all(torch.equal(kept[name], tensor.half().float()) for name, tensor in network.state_dict().items())


def of_another_shape() -> bytes:
    """The network in the package with one layer that makes fewer numbers."""
    arrays = load_file(WEIGHTS)
    arrays |= {name: arrays[name][:8].copy() for name in ("embed.weight", "embed.bias")}
    return save(arrays)


def of_fewer_layers() -> bytes:
    arrays = load_file(WEIGHTS)
    del arrays["blocks.3.narrow.bias"]
    return save(arrays)


def of_layers_that_do_not_fit() -> bytes:
    arrays = load_file(WEIGHTS)
    return save(arrays | {"blocks.3.narrow.weight": arrays["blocks.3.narrow.weight"][:, :7].copy()})


@pytest.mark.parametrize(
    "content",
    [lambda: b"", lambda: b"not a network", of_another_shape, of_fewer_layers, of_layers_that_do_not_fit],
)
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: Callable[[], bytes]) -> None:
    (tmp_path / "other").write_bytes(content())
    weights = Weights("mini", (tmp_path / "other",), "", custom=False)
    with pytest.raises(WeightsError, match="does not hold weights of the network mini"):
        open_network(recipe_named(RECIPE), weights)


def test_the_teacher_in_torch_says_what_it_says_in_openvino(reid_weights: Weights) -> None:
    files = sorted((SAMPLE / "Composite 01").glob("*.jpg"))
    crops = [open_image(file).resize((TEACHER.side, TEACHER.side)) for file in files]
    with torch.inference_mode():
        found = read_teacher(reid_weights.paths[0])(pixels(crops))
    expected = torch.from_numpy(open_network(recipe_named("mtcnn-reid"), reid_weights).embed(crops))
    assert functional.cosine_similarity(found, expected).min() > 0.99


LARGE = Shape(64, 16, (Block(32, 16, 2), Block(32, 16), Block(48, 16, 2), Block(48, 16, 2)), 32, 8)
SMALL = Shape(64, 12, (Block(24, 16, 2), Block(24, 16), Block(40, 16, 2), Block(40, 16, 2)), 28, 8)


@pytest.fixture
def drawn() -> tuple[MiniNet, torch.Tensor]:
    """A large network drawn by numbers, whose outputs differ by picture, and 160 blurred pictures."""
    torch.manual_seed(0)
    teacher = MiniNet(LARGE).eval()
    for layer in teacher.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, 0, (2 / layer.weight[0].numel()) ** 0.5)
            torch.nn.init.zeros_(layer.bias)
    crops = torch.from_numpy(np.random.default_rng(1).normal(size=(160, 3, 64, 64)).astype(np.float32))
    return teacher, functional.avg_pool2d(crops, 13, 1, 6) * 8


@torch.inference_mode()
def likeness(student: MiniNet, teacher: MiniNet, crops: torch.Tensor) -> float:
    """The mean cosine of what both say, less what each says of every picture."""
    one, other = student(crops), teacher(crops)
    return float(functional.cosine_similarity(one - one.mean(0), other - other.mean(0)).mean())


def test_a_network_of_the_teachers_own_size_is_the_teacher(drawn: tuple[MiniNet, torch.Tensor]) -> None:
    teacher, crops = drawn
    student = pruned(teacher, LARGE, crops[:128])
    assert likeness(student, teacher, crops[128:]) > 0.99
    with torch.inference_mode():
        inner = student.stem_act(student.stem(crops[:128]))
    assert torch.allclose(inner.square().mean((0, 2, 3)), torch.ones(LARGE.stem), atol=1e-3), "channels are level"


def test_a_smaller_network_starts_like_its_teacher(drawn: tuple[MiniNet, torch.Tensor]) -> None:
    teacher, crops = drawn
    alike = likeness(pruned(teacher, SMALL, crops[:128]), teacher, crops[128:])
    assert alike > 0.5
    assert alike > likeness(MiniNet(SMALL), teacher, crops[128:]) + 0.3


def test_batches_take_every_view_from_the_part_it_is_in(source: Source, tmp_path: Path) -> None:
    parts = tuple(Views(tmp_path, name, np.array(rows)) for name, rows in (("one", range(2)), ("two", range(5, 8))))
    for part in parts:
        part.make(source)
    batches = distil._Batches(parts)
    known = np.concatenate([part[np.arange(len(part))][1] for part in parts])
    for number in range(len(known)):
        assert np.array_equal(batches.pixels(np.array([number]))[1].numpy()[0], known[number])
    assert len(batches.pixels(np.arange(len(known)))[0]) == len(known) == 15


# Views of the people who do not exist, and a training of a few steps


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Embeddings, Photos]:
    """The sample gallery by the network in the package: it knows the faces."""
    folder = tmp_path_factory.mktemp("sample")
    gallery: Gallery = open_gallery(Settings(dataset=SAMPLE.name, index=folder / "index", cache=folder / "cache"))
    gallery.build([RECIPE])
    return gallery.searcher(RECIPE).embeddings, gallery.photos


@pytest.fixture
def source(sample: tuple[Embeddings, Photos]) -> Source:
    """Views whose teacher is a projection of colours."""
    recipe = recipe_named("mtcnn-reid")
    teacher = Encoder(recipe, TinyNetwork(MINI.dim), None, Weights("reid", (), "", custom=False))
    return Source(*sample, teacher, recipe_named(RECIPE))


def made(source: Source, folder: Path, rows: range) -> Views:
    found = Views(folder, "some", np.array(rows))
    found.make(source)
    return found


def test_views_are_made_once_and_are_the_same_again(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augmentation, "VIEWS_PER_PART", 8)
    first = made(source, tmp_path / "one", range(6))
    assert len(first) == 6 * augmentation.VIEWS
    crops, vectors = first[np.arange(len(first))]
    assert (crops.shape, vectors.shape) == ((18, MINI.side, MINI.side, 3), (18, MINI.dim))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len({crop.tobytes() for crop in crops}) == 18, "no two views are the same"
    kept = sorted((tmp_path / "one").iterdir())
    (tmp_path / "one" / kept[0].name).unlink()
    again = made(source, tmp_path / "one", range(6))
    assert np.array_equal(again[np.arange(18)][0], crops)
    assert np.array_equal(made(source, tmp_path / "two", range(6))[np.arange(18)][1], vectors)


def test_views_show_the_people_of_their_rows_only(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[str] = set()
    original = augmentation._crops

    def watched(source: Source, row: int, random: np.random.Generator) -> tuple[Image.Image, Image.Image]:
        opened.add(source.embeddings.people[row])
        return original(source, row, random)

    monkeypatch.setattr(augmentation, "_crops", watched)
    made(source, tmp_path, range(10))
    assert opened == {"Composite 01", "Composite 02"}, "also those that are mixed in"


def test_the_people_held_out_are_a_fifth_and_always_the_same(sample: tuple[Embeddings, Photos], tmp_path: Path) -> None:
    embeddings, photos = sample
    apart = distil.held_out_people(photos.people)
    assert len(apart) == 8
    assert apart == distil.held_out_people(tuple(reversed(photos.people)))
    shown, held = distil.open_views(tmp_path, embeddings, photos)
    assert {embeddings.people[row] for row in held.rows.tolist()} == apart
    assert not {embeddings.people[row] for row in shown.rows.tolist()} & apart
    assert len(shown) + len(held) == len(embeddings) * augmentation.VIEWS


@pytest.mark.slow
def test_training_learns_and_goes_on_where_it_was_cut_short(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"BATCH": 8, "CHECKPOINT_STEPS": 2, "PRUNING_VIEWS": 16}.items():
        monkeypatch.setattr(distil, name, value)
    monkeypatch.setattr(distil, "MINI", Shape(112, 8, (Block(8, 16, 2), Block(16, 16, 2), Block(16, 16, 2)), 32, 256))
    teacher = MiniNet(Shape(128, 8, (Block(8, 16, 2), Block(16, 16, 2), Block(16, 16, 2)), 32, 256))
    parts = (made(source, tmp_path, range(20)),)
    whole = distil.distil(teacher, parts, tmp_path / "whole.pt", steps=8)
    assert len(whole.curve) == 4
    assert whole.curve[-1] > whole.curve[0]

    class Cut(Exception):
        pass

    def cut(progress: object) -> None:
        if (tmp_path / "cut.pt").is_file():
            raise Cut

    with pytest.raises(Cut):
        distil.distil(teacher, parts, tmp_path / "cut.pt", 8, cut)
    rest = distil.distil(teacher, parts, tmp_path / "cut.pt", 8)
    for name, tensor in whole.network.state_dict().items():
        assert torch.allclose(rest.network.state_dict()[name], tensor, atol=1e-4), name
