"""Last layers: what they compute, that PCA keeps what matters, and that a file comes back as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.geometry import unit_rows
from pipeline.encoder.layer import ROWS, Layer, fit_pca, load_layer, save_layer


def vectors(count: int, dim: int, rank: int | None = None) -> np.ndarray:
    random = np.random.default_rng(0)
    return unit_rows(random.normal(size=(count, rank or dim)) @ random.normal(size=(rank or dim, dim)))


def test_a_layer_by_hand() -> None:
    layer = Layer(np.array([[1, 0], [0, -2], [0, 0]], np.float32), np.array([2, 0, 4], np.float32))
    np.testing.assert_allclose(layer.apply(np.array([[1, 2]], np.float32)), np.array([[3, -4, 4]]) / np.sqrt(41))
    rectified = Layer(layer.weight, layer.bias, rectified=True)
    np.testing.assert_allclose(rectified.apply(np.array([[1, 2]], np.float32)), [[0.6, 0, 0.8]])


def test_many_rows_are_as_each_alone() -> None:
    layer = Layer(vectors(5, 8), np.ones(5, np.float32), rectified=True)
    rows = vectors(2 * ROWS + 3, 8)
    found = layer.apply(rows)
    assert found.shape == (2 * ROWS + 3, 5)
    assert found.dtype == np.float32
    for row in (0, ROWS - 1, ROWS, 2 * ROWS + 2):
        np.testing.assert_allclose(found[row], layer.apply(rows[row : row + 1])[0], atol=1e-6)
    assert layer.apply(rows[:0]).shape == (0, 5)


@pytest.mark.parametrize(("weight", "bias"), [((3, 2), (2,)), ((3,), (3,)), ((3, 2), (3, 1))])
def test_shapes_that_do_not_fit_are_refused(weight: tuple[int, ...], bias: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        Layer(np.zeros(weight, np.float32), np.zeros(bias, np.float32))


# PCA


def test_pca_is_the_singular_value_decomposition_of_the_centred_vectors() -> None:
    rows = vectors(200, 16)
    reduced = fit_pca(rows, 5).apply(rows)
    centred = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred.astype(float), full_matrices=False)
    expected = unit_rows((left * sizes)[:, :5])
    signs = np.sign(np.sum(reduced * expected, axis=0))
    np.testing.assert_allclose(reduced * signs, expected, atol=1e-4)


def test_pca_keeps_the_neighbours_where_the_rest_is_noise() -> None:
    rows = vectors(300, 64, rank=8)
    layer = fit_pca(rows, 8)
    assert float(layer.facts["variance_kept"]) == 1
    centred = unit_rows(rows - rows.mean(axis=0))
    np.testing.assert_allclose(layer.apply(rows) @ layer.apply(rows).T, centred @ centred.T, atol=1e-4)
    assert float(fit_pca(rows, 3).facts["variance_kept"]) < 0.9


@pytest.mark.parametrize(("count", "components"), [(0, 16), (1, 16), (2, 1), (9, 8), (10, 9), (40, 9)])
def test_a_small_gallery_gives_fewer_components(count: int, components: int) -> None:
    rows = vectors(count, 16)
    reduced = fit_pca(rows, 9).apply(rows)
    assert reduced.shape == (count, components)
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), np.ones(count), atol=1e-5)


def test_pca_is_the_same_every_time() -> None:
    rows = vectors(100, 32)
    assert fit_pca(rows, 8).weight.tobytes() == fit_pca(rows.copy(), 8).weight.tobytes()


# On disk


@pytest.mark.parametrize("rectified", [True, False])
def test_a_layer_comes_back_from_disk(tmp_path: Path, rectified: bool) -> None:
    layer = Layer(vectors(5, 8), np.arange(5, dtype=np.float32), rectified, {"backbone": "0a1b", "é": "ü"})
    save_layer(layer, tmp_path / "layer.safetensors")
    again = load_layer(tmp_path / "layer.safetensors")
    np.testing.assert_array_equal(again.weight, layer.weight)
    np.testing.assert_array_equal(again.bias, layer.bias)
    assert (again.rectified, again.facts) == (rectified, layer.facts)
    assert [file.name for file in tmp_path.iterdir()] == ["layer.safetensors"]


@given(st.binary(max_size=200))
def test_no_other_bytes_are_a_layer(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "layer.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds no layer"):
        load_layer(path)


def test_half_a_layer_is_none(tmp_path: Path) -> None:
    path = tmp_path / "layer.safetensors"
    save_layer(Layer(vectors(5, 8), np.zeros(5, np.float32)), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="holds no layer"):
        load_layer(path)
    with pytest.raises(ValueError, match="holds no layer"):
        load_layer(tmp_path / "missing.safetensors")


def test_the_same_layer_is_the_same_file(tmp_path: Path) -> None:
    weight = np.arange(12, dtype=np.float32).reshape(4, 3)
    facts = {"b": "2", "a": "1", "c": "3"}
    for place in map(str, range(6)):
        save_layer(Layer(weight, weight[:, 0], facts=facts), tmp_path / place)  # the bias is not contiguous
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    np.testing.assert_array_equal(load_layer(tmp_path / "0").bias, [0, 3, 6, 9])
