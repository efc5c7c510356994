"""Networks: the numbers are those of their references; nothing but a checkpoint of the right network passes."""

from __future__ import annotations

import pickle
import zipfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from facenet_pytorch import InceptionResnetV1, fixed_image_standardization
from PIL import Image
from torch import nn
from torchvision.models import resnet50
from torchvision.transforms import functional

from pipeline.core.errors import WeightsError
from pipeline.core.recipes import Recipe, recipe_named
from pipeline.core.settings import SAMPLE
from pipeline.core.types import FloatArray, Network
from pipeline.encoder import networks, torch_networks
from pipeline.encoder.graphs import INT8, Batched, keep_biases
from pipeline.encoder.networks import NETWORKS, OpenvinoNetwork, open_network
from pipeline.encoder.torch_networks import OnDevice, has_gpu, torch_graph
from pipeline.encoder.weights import Weights
from pipeline.photos.images import open_image
from tests.test_architecture import SLOW, loaded_by

FACENET = recipe_named("mtcnn-facenet")
RESNET50 = recipe_named("resnet50")
REID = recipe_named("mtcnn-reid")


def crops(size: int, count: int = 4) -> list[Image.Image]:
    """Noise, softened differently, so that the crops are unlike each other; then one red, one blue."""
    random = np.random.default_rng(size)
    grids = [random.integers(0, 256, (3 + 5 * i, 3 + 5 * i, 3), np.uint8) for i in range(count)]
    patterns = [Image.fromarray(grid).resize((size, size), Image.Resampling.BILINEAR) for grid in grids]
    return [*patterns, Image.new("RGB", (size, size), (200, 30, 40)), Image.new("RGB", (size, size), (40, 30, 200))]


def cosines(ours: FloatArray, theirs: FloatArray) -> np.ndarray:
    return (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)


def settle(module: nn.Module, size: int) -> nn.Module:
    """Gives a random network the batch statistics of crops; without them its numbers run off the scale."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # plain averages
    with torch.no_grad():
        module.train()(standardised(crops(size, 8)))
    return module.eval()


def weights_of(network: str, *paths: Path) -> Weights:
    return Weights(network, paths, "0", True)


def opened(recipe: Recipe, path: Path, *, gpu: bool = False) -> Network:
    """The network with the checkpoint at `path`, converted by the first test that asks for it: that takes seconds."""
    return open_network(recipe, weights_of(recipe.network, path), path.with_suffix(".graphs"), gpu=gpu)


@pytest.fixture(scope="module")
def facenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[InceptionResnetV1, Path, Path]:
    """A random FaceNet, its checkpoint as published (with the classifier), and the one without."""
    torch.manual_seed(0)
    module = settle(InceptionResnetV1(pretrained=None, classify=True, num_classes=8631), 160)
    folder = tmp_path_factory.mktemp("facenet")
    state = module.state_dict()
    assert sum(name.startswith("logits.") for name in state) == 2
    torch.save(state, folder / "published.pt")
    bare = {name: tensor for name, tensor in state.items() if not name.startswith("logits.")}
    torch.save(bare, folder / "bare.pt")
    module.classify = False
    return module, folder / "published.pt", folder / "bare.pt"


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A random ResNet-50 whose output is its features, and its full checkpoint."""
    torch.manual_seed(0)
    module = settle(resnet50(weights=None), 224)
    path = tmp_path_factory.mktemp("resnet50") / "resnet50.pth"
    torch.save(module.state_dict(), path)
    module.fc = nn.Identity()
    return module, path


@pytest.fixture(params=[pytest.param("float32", marks=pytest.mark.slow), "as this processor does"])
def exact(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the network runs in float32, where its numbers are to be exactly the reference's."""
    if request.param == "float32" or networks.native_precision() == INT8:  # tested by test_int8.py
        monkeypatch.setattr(networks, "native_precision", lambda: "f32")
    return networks.native_precision() == "f32"


def assert_same(ours: FloatArray, theirs: FloatArray, *, exact: bool) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    if exact:
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * float(np.abs(theirs).max()))
    assert cosines(ours, theirs).min() > 0.999
    unit = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    apart = np.linalg.norm(unit[:, None] - unit[None], axis=2) + 2 * np.eye(len(unit))
    assert apart.min() > 0.05, "the crops must be told apart, or any order of them and their colours would pass"


def standardised(photos: Sequence[Image.Image]) -> torch.Tensor:
    """As facenet-pytorch feeds its network."""
    return torch.stack([fixed_image_standardization(functional.to_tensor(np.float32(photo))) for photo in photos])


def test_facenet_embeds_as_facenet_pytorch_does(facenet: tuple[InceptionResnetV1, Path, Path], exact: bool) -> None:
    module, published, _ = facenet
    with torch.no_grad():
        theirs = module(standardised(crops(160))).numpy()
    ours = opened(FACENET, published).embed(crops(160))
    assert_same(ours, theirs, exact=exact)


def test_a_network_says_the_precision_in_which_it_runs(
    facenet: tuple[InceptionResnetV1, Path, Path], exact: bool
) -> None:
    network = opened(FACENET, facenet[1])
    assert isinstance(network, OpenvinoNetwork)
    assert network.precision == ("f32" if exact else "bf16")
    compiled = network._network._few._free.get().get_compiled_model()
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == network.precision


@pytest.mark.slow
def test_facenet_loads_with_and_without_the_classifier(facenet: tuple[InceptionResnetV1, Path, Path]) -> None:
    one, other = (open_network(FACENET, weights_of("facenet", path)).embed(crops(160)) for path in facenet[1:])
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_no_bias_of_a_convolution_is_rounded_to_bf16(
    facenet: tuple[InceptionResnetV1, Path, Path], resnet: tuple[nn.Module, Path]
) -> None:
    """Batch norm is part of the convolutions by then, its shift their bias; it is added behind what keeps it exact."""
    for graph in (
        torch_graph(weights_of("facenet", facenet[2])),
        torch_graph(weights_of("resnet50", resnet[1])),
    ):
        keep_biases(graph)
        assert_kept(graph)
    pixels = np.ascontiguousarray(standardised(crops(160)).numpy())
    graph = torch_graph(weights_of("facenet", facenet[2]))
    exact, rounded = (Batched(graph, precision)(pixels) for precision in ("f32", "bf16"))
    assert cosines(exact, rounded).min() > 0.999
    assert_kept(graph)


def test_nor_are_those_whose_weights_are_kept_in_half_precision(reid_weights: Weights) -> None:
    graph = openvino.Core().read_model(reid_weights.paths[0])
    keep_biases(graph)
    assert_kept(graph)


def assert_kept(graph: openvino.Model) -> None:
    """Every bias of a convolution is added behind what does nothing."""
    convolutions = [node for node in graph.get_ops() if node.get_type_name() in ("Convolution", "GroupConvolution")]
    followers = Counter(
        target.get_node().get_type_name() for node in convolutions for target in node.output(0).get_target_inputs()
    )
    assert followers.pop("Result", 0) <= 1, "one without a bias, at the end"
    assert list(followers) == ["Clamp"]
    assert followers["Clamp"] > 50


@pytest.mark.slow
def test_once_it_is_converted_a_network_needs_no_torch(
    facenet: tuple[InceptionResnetV1, Path, Path], tmp_path: Path
) -> None:
    wanted = open_network(FACENET, weights_of("facenet", facenet[2]), tmp_path).embed(crops(160))
    statement = (
        "import sys; from pathlib import Path; import numpy as np; from PIL import Image; "
        "from pipeline.encoder.networks import open_network; from pipeline.core.recipes import Recipe, recipe_named; "
        "from pipeline.encoder.weights import Weights; "
        "network = open_network(recipe_named('mtcnn-facenet'), Weights('facenet', (), '0', True), "
        f"Path({str(tmp_path)!r})); "
        f"np.save({str(tmp_path / 'vectors.npy')!r}, network.embed([Image.new('RGB', (160, 160), (200, 30, 40))]))"
    )
    assert loaded_by(statement, *SLOW) == set()
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), wanted[-2:-1], atol=1e-5)


@pytest.mark.slow
def test_facenet_checkpoint_in_half_precision_loads(
    facenet: tuple[InceptionResnetV1, Path, Path], tmp_path: Path
) -> None:
    state = {name: tensor.half() for name, tensor in torch.load(facenet[2]).items()}
    torch.save(state, tmp_path / "half.pt")
    ours = open_network(FACENET, weights_of("facenet", tmp_path / "half.pt")).embed(crops(160))
    theirs = open_network(FACENET, weights_of("facenet", facenet[2])).embed(crops(160))
    assert cosines(ours, theirs).min() > 0.999


def test_resnet50_gives_torchvisions_features(resnet: tuple[nn.Module, Path], exact: bool) -> None:
    module, path = resnet
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    batch = [functional.normalize(functional.to_tensor(crop), mean, deviation) for crop in crops(224)]
    with torch.no_grad():
        theirs = module(torch.stack(batch)).numpy()
    ours = opened(RESNET50, path).embed(crops(224))
    assert ours.shape == (6, 2048)
    assert_same(ours, theirs, exact=exact)


def test_red_and_blue_are_not_swapped(facenet: tuple[InceptionResnetV1, Path, Path]) -> None:
    module, published, _ = facenet
    red, blue = crops(160)[-2:]
    with torch.no_grad():
        theirs = module(standardised([red, blue])).numpy()
    ours = opened(FACENET, published).embed([red, blue])
    assert cosines(ours, theirs).min() > cosines(ours, theirs[::-1]).max() + 0.001


# Files that are no such checkpoint


class Malicious:
    """Unpickled as pickles are, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.folder,)


def refused(network: str, path: Path) -> None:
    recipe = {"facenet": FACENET, "resnet50": RESNET50, "reid": REID}[network]
    with pytest.raises(WeightsError, match=network) as caught:
        open_network(recipe, weights_of(network, path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("network", ["facenet", "resnet50", "reid"])
@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", bytes(1000), b"<?xml version='1.0'?><net/>", b"PK\x03\x04"]
)
def test_a_file_that_is_no_checkpoint_is_refused(network: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.xml"
    path.write_bytes(content)
    refused(network, path)


def test_a_zip_of_other_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused("facenet", tmp_path / "weights.pt")


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({"conv.weight": Malicious(trap)}, tmp_path / "zip.pt")
    torch.save({"conv.weight": Malicious(trap)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Malicious(trap)))
    for name in ("zip.pt", "old.pt", "plain.pt"):
        refused("facenet", tmp_path / name)
        assert not trap.exists()
    pickle.loads((tmp_path / "plain.pt").read_bytes())
    assert trap.exists(), "the trap works, where it is let"


@pytest.mark.parametrize("content", [[1, 2], {"step": 3}, {"conv": torch.zeros(3)}, torch.zeros(3), {}])
def test_a_checkpoint_of_something_else_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    refused("facenet", tmp_path / "weights.pt")
    refused("resnet50", tmp_path / "weights.pt")


def test_weights_of_another_network_are_refused(
    facenet: tuple[InceptionResnetV1, Path, Path], resnet: tuple[nn.Module, Path]
) -> None:
    refused("facenet", resnet[1])
    refused("resnet50", facenet[1])


# On a GPU


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_torch_by_itself_embeds_as_openvino_does(
    facenet: tuple[InceptionResnetV1, Path, Path],
    resnet: tuple[nn.Module, Path],
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(networks, "native_precision", lambda: "f32")
    if device == "cuda" and not has_gpu():
        pytest.skip("needs an NVIDIA GPU")
    for recipe, path in ((FACENET, facenet[2]), (RESNET50, resnet[1])):
        weights = weights_of(recipe.network, path)
        ours = open_network(recipe, weights).embed(crops(recipe.size))
        kind = NETWORKS[recipe.network]
        on_device = OnDevice(weights, kind.mean, kind.scale, device)
        assert_same(on_device.embed(crops(recipe.size)), ours, exact=device == "cpu")


def test_a_gpu_is_used_where_there_is_one(
    facenet: tuple[InceptionResnetV1, Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = OnDevice if has_gpu() else OpenvinoNetwork
    _, published, _ = facenet
    assert isinstance(opened(FACENET, published, gpu=True), wanted)
    monkeypatch.setattr(networks, "NVIDIA", tmp_path)  # a driver without a GPU
    assert isinstance(opened(FACENET, published, gpu=True), wanted)
    # One that torch finds, for which the processor stands in.
    monkeypatch.setattr(torch_networks, "has_gpu", lambda: True)
    monkeypatch.setattr(torch_networks, "OnDevice", partial(OnDevice, device="cpu"))
    assert isinstance(opened(FACENET, published, gpu=True), OnDevice)
    assert isinstance(opened(FACENET, published), OpenvinoNetwork), "only where it is asked for"
    monkeypatch.setattr(networks, "NVIDIA", tmp_path / "none")
    assert isinstance(opened(FACENET, published, gpu=True), OpenvinoNetwork)


# The small network, with its real weights


@pytest.fixture(scope="module")
def reid(reid_weights: Weights) -> Network:
    return open_network(REID, reid_weights)


def test_reid_is_fed_bgr_of_0_to_255(reid_weights: Weights, exact: bool) -> None:
    reid = open_network(REID, reid_weights)
    plain = openvino.Core().compile_model(reid_weights.paths[0], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    photos = [open_image(file).resize((128, 128)) for file in sorted(SAMPLE.glob("Composite 0*/*1.jpg"))]
    theirs = []
    for photo in photos:
        red, green, blue = (np.asarray(band, np.float32) for band in photo.split())
        theirs.append(plain(np.stack([blue, green, red])[None])[0].ravel())
    assert_same(reid.embed(photos), np.stack(theirs), exact=exact)
    swapped = [Image.merge("RGB", photo.split()[::-1]) for photo in photos]
    assert cosines(reid.embed(swapped), np.stack(theirs)).max() < 0.99, "the order of the colours matters"


def test_reid_embeds_a_batch_as_it_embeds_one(reid: Network) -> None:
    photos = crops(128, 8)
    alone = np.concatenate([reid.embed([photo]) for photo in photos])
    np.testing.assert_allclose(reid.embed(photos), alone, atol=1e-4)
    np.testing.assert_allclose(reid.embed(photos[:3]), alone[:3], atol=1e-4)


def test_two_threads_embed_as_one_does(reid: Network) -> None:
    """The page searches while a gallery is being built."""
    batches = [[crop] * count for count, crop in zip((1, 5, 2, 9), crops(128), strict=False)] * 8
    alone = [reid.embed(batch) for batch in batches]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(reid.embed, batches))
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_vector_stays_when_the_next_is_embedded(reid: Network) -> None:
    """The runtime hands out its own buffer; what is returned must not change under the caller."""
    first, second = crops(128)[:2]
    kept = reid.embed([first])
    copy = kept.copy()
    reid.embed([second])
    np.testing.assert_array_equal(kept, copy)
