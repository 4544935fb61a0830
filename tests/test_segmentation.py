"""A result as a notebook shows it, and the ways of giving an image that are not files."""

import http.server
import io
import threading
from collections.abc import Iterator

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from skinlesion import Segmenter, SkinlesionError, any_image, fetch_image
from skinlesion.any_image import as_array
from skinlesion.overlay import overlay

CARD = {"preprocessing": {"size": [24, 32], "normalize": "minmax"}}


class Darkness(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return 4 - 8 * image[:, :1]


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(Darkness(), CARD)


def test_it_prints_itself_in_one_line(segmenter: Segmenter, photo: np.ndarray) -> None:
    found = segmenter.segment(photo)
    assert repr(found) == (
        f"<Segmentation of 90 x 60 pixels: {found.mask.mean():.1%} lesion, confidence {found.confidence:.2f}>"
    )
    light = np.full((8, 8, 3), (200, 180, 170), np.uint8)
    light[0, 0] = 255  # so that minimum and maximum normalization leaves the rest light
    assert repr(segmenter.segment(light, threshold=0.99)).endswith("> No lesion found.")


def test_its_segmenter_says_which_weights_it_has() -> None:
    assert repr(Segmenter.from_pretrained("small")) == "<Segmenter small: small at 128 x 128 on cpu>"


@pytest.mark.parametrize(("side", "expected"), [(60, (60, 90)), (1600, (426, 640))])
def test_it_shows_itself(segmenter: Segmenter, photo: np.ndarray, side: int, expected: tuple[int, int]) -> None:
    image = np.asarray(Image.fromarray(photo).resize((side * 3 // 2, side)))
    found = segmenter.segment(image)
    shown = np.asarray(Image.open(io.BytesIO(found._repr_png_())))
    assert shown.shape[:2] == expected
    if side == 60:
        assert np.array_equal(shown, overlay(photo, found.mask))
    assert np.array_equal(found.overlay(), overlay(image, found.mask))
    with pytest.raises(SkinlesionError, match="at least 1 pixel"):
        found.overlay(0)


def test_its_numbers_are_a_table_of_one_row(segmenter: Segmenter, photo: np.ndarray) -> None:
    found = segmenter.segment(photo)
    table = pandas.concat([each.to_dataframe() for each in segmenter.segment_batch([photo, photo[:30]])])
    assert table["height"].tolist() == [60, 30]
    assert table["lesion_pixels"].iloc[0] == found.area
    assert table["confidence"].iloc[0] == pytest.approx(found.confidence)
    assert table["warnings"].tolist() == ["", ""]


def test_tensors_are_images(segmenter: Segmenter, photo: np.ndarray) -> None:
    whole = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    for tensor in (whole, whole / 255, (whole / 255).double().requires_grad_()):
        assert np.array_equal(as_array(tensor), photo)
    assert np.array_equal(segmenter.segment(whole).mask, segmenter.segment(photo).mask)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1, 3, 4, 4), "one RGB image"),
        (torch.zeros(4, 4, 3), "one RGB image"),
        (torch.zeros(3, 0, 4), "one RGB image"),
        (torch.full((3, 4, 4), -0.1), "normalization"),
        (torch.full((3, 4, 4), float("nan")), "normalization"),
        (torch.full((3, 4, 4), 200.0), "normalization"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "int64"),
    ],
)
def test_tensors_that_are_no_image(tensor: Tensor, message: str) -> None:
    with pytest.raises(SkinlesionError, match=message):
        as_array(tensor)


@pytest.fixture
def address(photo: np.ndarray) -> Iterator[str]:
    """A server with one image and nothing else."""
    data = io.BytesIO()
    Image.fromarray(photo).save(data, "PNG")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/photo.png"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(data.getvalue() if found else b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_is_downloaded_only_on_request(
    segmenter: Segmenter, photo: np.ndarray, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert np.array_equal(as_array(fetch_image(f"{address}/photo.png")), photo)
    with pytest.raises(SkinlesionError):
        segmenter.segment(f"{address}/photo.png")  # a path that doesn't exist
    with pytest.raises(SkinlesionError, match="404"):
        fetch_image(f"{address}/other.png")
    for wrong in ("file:///etc/passwd", "photo.png", "ftp://127.0.0.1/x", "http://"):
        with pytest.raises(SkinlesionError):
            fetch_image(wrong)
    monkeypatch.setattr(any_image, "MAX_DOWNLOAD", 10)
    with pytest.raises(SkinlesionError, match="is larger than"):
        fetch_image(f"{address}/photo.png")
