"""Reading images, preparing them as a network's input, and boxes back in the image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import BadInput

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from zoo.images import Preprocess, image_files, prepare, read_image

CENTER = Preprocess("rgb", 1.0, resize="letterbox-center")
CORNER = Preprocess("rgb", 1.0, resize="letterbox-corner")
STRETCH = Preprocess("rgb", 1.0, resize="stretch")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Between pixel centres, edges repeated, unrounded: the definition, in float64."""
    along = []
    for new, old in ((height, image.shape[0]), (width, image.shape[1])):
        at = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
        low = np.floor(at).astype(int)
        along.append((low, np.minimum(low + 1, old - 1), at - low))
    (y0, y1, v), (x0, x1, u) = along
    u, v, image = u[None, :, None], v[:, None, None], image.astype(float)
    upper, lower = image[y0][:, x0] * (1 - u) + image[y0][:, x1] * u, image[y1][:, x0] * (1 - u) + image[y1][:, x1] * u
    return upper * (1 - v) + lower * v


@pytest.mark.parametrize(
    ("shape", "new"), [((37, 53), (64, 64)), ((300, 211), (64, 48)), ((5, 7), (31, 3)), ((1, 1), (4, 4))]
)
def test_resizing_is_bilinear_between_pixel_centres(shape: tuple[int, int], new: tuple[int, int]) -> None:
    image = picture(*shape)
    batch, _ = prepare([image], new, STRETCH)
    assert batch.dtype == torch.float32 and batch.shape == (1, 3, *new) and batch.is_contiguous()
    have = batch[0].permute(1, 2, 0).numpy()
    assert (have == have.round()).all(), "whole again before anything is scaled"
    assert np.abs(have - bilinear(image, *new)).max() <= 0.5 + 1e-3


def test_antialiased_is_pillow() -> None:
    image = picture(200, 300)
    batch, _ = prepare([image], (50, 60), Preprocess("rgb", 1.0, resize="stretch", antialias=True))
    pillow = np.asarray(Image.fromarray(image).resize((60, 50), Image.Resampling.BILINEAR)).astype(float)
    assert np.abs(batch[0].permute(1, 2, 0).numpy() - pillow).max() <= 1


@pytest.mark.parametrize(
    ("shape", "size", "how", "new", "corner"),
    [
        ((480, 640), 640, CENTER, (480, 640), (80, 0)),
        ((427, 640), 640, CENTER, (427, 640), (106, 0)),  # 213 rows of padding: 106 above, 107 below
        ((640, 427), 640, CENTER, (640, 427), (0, 106)),
        ((333, 500), 640, CENTER, (426, 640), (107, 0)),
        ((333, 500), 640, CORNER, (426, 640), (0, 0)),
        ((375, 500), 416, CORNER, (312, 416), (0, 0)),
        ((100, 331), 640, CORNER, (193, 640), (0, 0)),  # 193.35
        ((100, 332), 640, CENTER, (193, 640), (223, 0)),  # 192.77
        ((100, 332), 640, CORNER, (192, 640), (0, 0)),
        ((333, 500), (320, 640), STRETCH, (320, 640), (0, 0)),
        ((1000, 2), 64, CENTER, (64, 1), (0, 31)),  # 0.128 wide would be nothing
        ((100, 100), (64, 128), CENTER, (64, 64), (0, 32)),
    ],
)
def test_where_an_image_lies(
    shape: tuple[int, int], size: Any, how: Preprocess, new: tuple[int, int], corner: tuple[int, int]
) -> None:
    image = np.full((*shape, 3), 255, np.uint8)
    batch, (place,) = prepare([image], size, how)
    assert batch.shape[2:] == ((size, size) if isinstance(size, int) else size)
    assert (place.top, place.left) == corner and (place.height, place.width) == shape
    rows, columns = (batch[0, 0] == 255).nonzero(as_tuple=True)
    assert (int(rows.min()), int(columns.min())) == corner
    assert (int(rows.max()) + 1 - corner[0], int(columns.max()) + 1 - corner[1]) == new
    assert set(batch.unique().tolist()) <= {114.0, 255.0}


def test_values_and_order_of_colours() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:] = 10, 20, 30
    batch, _ = prepare(
        [image, image], 8, Preprocess("bgr", 1.0, (1.0, 2.0, 3.0), (2.0, 4.0, 8.0), "letterbox-corner", 7)
    )
    assert batch.shape == (2, 3, 8, 8)
    assert batch[1, :, 0, 0].tolist() == [(30 - 1) / 2, (20 - 2) / 4, (10 - 3) / 8]
    assert batch[1, :, 7, 7].tolist() == [(7 - 1) / 2, (7 - 2) / 4, (7 - 3) / 8]
    batch, _ = prepare([image], 8, Preprocess())
    assert torch.allclose(batch[0, :, 4, 4], torch.tensor([10, 20, 30]) / 255)
    assert prepare([], 8, CENTER)[0].shape == (0, 3, 8, 8)


@pytest.mark.filterwarnings("error")
def test_arrays_of_any_layout() -> None:
    image = picture(8, 8)
    expected, _ = prepare([image], 8, CENTER)
    locked = image.copy()
    locked.flags.writeable = False
    for same in (locked, np.asfortranarray(image), np.ascontiguousarray(image[:, ::-1])[:, ::-1]):
        assert torch.equal(prepare([same], 8, CENTER)[0], expected)


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    size=st.tuples(st.integers(32, 160), st.integers(32, 160)),
    data=st.data(),
)
@settings(max_examples=60)
def test_boxes_go_there_and_back(height: int, width: int, size: tuple[int, int], data: st.DataObject) -> None:
    how = data.draw(st.sampled_from([CENTER, CORNER, STRETCH]))
    ends = torch.tensor([width, height] * 2)
    boxes = torch.rand(5, 4, generator=torch.Generator().manual_seed(height)) * ends
    _, (place,) = prepare([np.zeros((height, width, 3), np.uint8)], size, how)
    there = place.to_input(boxes)
    assert there.min() >= 0 and (there <= torch.tensor([size[1], size[0]] * 2) + 1e-3).all()
    assert (place.to_image(there) - boxes).abs().max() < 0.5
    whole = place.to_image(torch.tensor([[-9.0, -9, 999, 999]]))
    assert whole.tolist() == [[0, 0, width, height]], "clipped to the image"
    assert place.to_image(boxes[:0]).shape == (0, 4)


def test_a_drawn_spot_is_found_where_its_box_says() -> None:
    """Against the pixels themselves, so that an error that undoes itself on the way back shows."""
    image = np.zeros((300, 200, 3), np.uint8)
    image[60:120, 40:160] = 255
    for how in (CENTER, CORNER, STRETCH):
        batch, (place,) = prepare([image], (256, 320), how)
        bright = (batch[0, 0] > 127) & (batch[0, 0] != 114)
        rows, columns = bright.nonzero(as_tuple=True)
        found = torch.tensor([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
        assert (place.to_input(torch.tensor([[40.0, 60, 160, 120]])) - found).abs().max() <= 0.75
        assert (place.to_image(found) - torch.tensor([[40, 60, 160, 120]])).abs().max() <= 1


def save(image: Any, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def test_reading_every_kind(tmp_path: Path) -> None:
    image = picture(6, 9)
    assert (read_image(save(Image.fromarray(image), tmp_path / "a.png")) == image).all()
    grey = image[:, :, 0]
    three = np.repeat(grey[:, :, None], 3, axis=2)
    assert (read_image(save(Image.fromarray(grey), tmp_path / "b.png")) == three).all()
    assert (read_image(save(Image.fromarray(grey.astype(np.uint16) * 257), tmp_path / "c.png")) == three).all()
    assert (read_image(save(Image.fromarray(grey.astype(np.uint16) * 257), tmp_path / "c.tif")) == three).all()
    assert (read_image(save(Image.fromarray(grey > 99), tmp_path / "d.png")) == np.where(three > 99, 255, 0)).all()
    palette = Image.fromarray(image).quantize(16)
    assert (read_image(save(palette, tmp_path / "e.png")) == np.asarray(palette.convert("RGB"))).all()
    clear = np.dstack([image, np.where(grey > 99, 255, 0).astype(np.uint8)])
    have = read_image(save(Image.fromarray(clear), tmp_path / "f.png"))
    assert (have == np.where((grey > 99)[:, :, None], image, 255)).all(), "what is clear is white"
    half = np.dstack([image, np.full_like(grey, 128)])
    assert np.abs(read_image(save(Image.fromarray(half), tmp_path / "g.png")) - (image / 2 + 127.5)).max() <= 2
    assert read_image(save(Image.fromarray(image).convert("CMYK"), tmp_path / "h.jpg")).shape == image.shape
    for name in ("i.bmp", "j.webp", "k.jpg"):
        have = read_image(str(save(Image.fromarray(image), tmp_path / name)))
        assert have.shape == image.shape and have.dtype == np.uint8 and have.flags.writeable


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    """The stored picture, turned back to how it was taken."""
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:4, :8] = 255  # white at the top left only
    turns = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(np.ascontiguousarray(turns[orientation])), tmp_path / "turned.png", exif=exif)
    assert (read_image(path) == upright).all()


def test_bad_files_are_named(tmp_path: Path) -> None:
    good = save(Image.fromarray(picture(64, 64)), tmp_path / "good.png")
    jpeg = save(Image.fromarray(picture(64, 64)), tmp_path / "good.jpg")
    bad = {
        "short.png": good.read_bytes()[:5000],
        "short.jpg": jpeg.read_bytes()[:900],
        "empty.png": b"",
        "text.jpg": b"hello",
        "head.png": good.read_bytes()[:20],
        "chunk.png": good.read_bytes()[:40] + b"\xff" * 200,
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=name):
            read_image(tmp_path / name)
    for name in ("none.png", "."):
        with pytest.raises(BadInput):
            read_image(tmp_path / name)
    with pytest.raises(BadInput, match="floating-point"):
        read_image(save(Image.fromarray(np.ones((4, 4), np.float32)), tmp_path / "float.tif"))


@pytest.mark.parametrize("limit", [4095, 1000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = save(Image.fromarray(picture(64, 64)), tmp_path / "bomb.png")
    monkeypatch.setattr(sys.modules["PIL.Image"], "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(BadInput, match="too large"):
        read_image(path)


def test_which_files_are_images(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "deeper.jpg").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "notes.txt", "._a.png", "c.webp"):
        (folder / name).touch()
    names = [path.name for path in image_files(folder)]
    assert names == ["a.png", "b.JPG", "c.webp"]
    assert [path.name for path in image_files([folder / "c.webp", str(folder)])] == ["c.webp", "a.png", "b.JPG"]
    assert image_files(str(folder / "a.png")) == [folder / "a.png"]
    for wrong in (folder / "deeper.jpg", folder / "notes.txt", tmp_path / "none.png"):
        with pytest.raises(BadInput, match=wrong.name):
            image_files([wrong])


def test_wrong_input_is_named() -> None:
    image = picture(8, 8)
    for wrong in (
        lambda: prepare([image.astype(float)], 8, CENTER),
        lambda: prepare([image[:, :, 0]], 8, CENTER),
        lambda: prepare([image[:0]], 8, CENTER),
        lambda: prepare([image], 0, CENTER),
        lambda: prepare([image], (8, -1), CENTER),
        lambda: Preprocess(order="gbr"),
        lambda: Preprocess(resize="letterbox"),
        lambda: Preprocess(pad=300),
        lambda: Preprocess(std=(1.0, 0.0, 1.0)),
    ):
        with pytest.raises(BadInput):
            wrong()
