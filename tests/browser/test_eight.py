"""Eight people at once on one process: each gets the answer for their own image, from one network."""

import io

import numpy as np
import pytest
from PIL import Image

from skinlesion import explain
from skinlesion.data.synthetic import synthesize
from skinlesion.segmenter import Segmenter

PEOPLE = 8
# A visitor keeps an upload of some kilobytes and pictures of at most a few megabytes; a look inside the network is some
# megabytes, and twelve of each kind are kept for all together. The rest is what threads and allocators hold.
GROWTH = 150_000_000


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Eight lesions of different sizes, no samples."""
    return [synthesize(seed=100 + i, size=(150, 150 + 10 * i)).image for i in range(PEOPLE)]


@pytest.fixture(scope="module")
def network(server) -> Segmenter:
    """The same network, here."""
    return Segmenter.from_pretrained(server.weights / "eight.safetensors")


@pytest.mark.slow
def test_eight_visitors_get_their_own_answers(visitor, server, photos, network, png):
    visits = [visitor((1100, 800)) for _ in range(PEOPLE)]
    for visit in visits:  # all ask at once for a network that nobody has loaded yet
        visit.page.goto(f"{server.url}/?weights=eight", wait_until="commit")
    for visit in visits:
        visit.ready()
    assert server.noted("load").count("eight") == 1
    before = server.memory()
    _upload(visits, photos, png)
    _masks(visits, photos, network)
    _gates(visits, photos, network)
    _channels(visits, photos, network)
    assert server.noted("load").count("eight") == 1
    grown = server.memory() - before
    print(f"memory: {before / 1e6:.0f} MB with eight visitors, {grown / 1e6:.0f} MB more at the end")
    assert grown < GROWTH


def _upload(visits: list, photos: list[np.ndarray], png) -> None:
    old = [visit.source(part=".before") for visit in visits]
    for visit in visits:
        visit.page.get_by_role("button", name="Your own images").click()
        visit.page.locator('input[type="file"]').wait_for(state="attached")
    for number, (visit, photo) in enumerate(zip(visits, photos, strict=True)):
        visit.upload((f"visitor {number}.png", png(photo)))
    for visit, source in zip(visits, old, strict=True):
        visit.changed(source, part=".before")
        visit.ready()


def _masks(visits: list, photos: list[np.ndarray], network: Segmenter) -> None:
    """The area that is said, and the file of the mask."""
    expected = [network.segment(photo, threshold=0.5) for photo in photos]
    areas = [f"{100 * found.area_fraction:.1f}%" for found in expected]
    assert len(set(areas)) >= PEOPLE - 2  # nearly all can be told apart by it
    for visit, photo, found, area in zip(visits, photos, expected, areas, strict=True):
        assert f"Your image, {photo.shape[1]} x {photo.shape[0]} pixels" in visit.said()
        assert area == visit.at("live").locator(".area dd").inner_text()
        mask = np.asarray(Image.open(io.BytesIO(visit.download("get-Mask"))))
        assert np.array_equal(mask > 0, found.mask)


def _gates(visits: list, photos: list[np.ndarray], network: Segmenter) -> None:
    """A look inside the network: were two traces mixed up, the numbers would be another's."""
    for visit in visits:
        visit.page.get_by_role("link", name="Cross-region attention").click()
    said = set()
    for visit, photo in zip(visits, photos, strict=True):
        skip = next(iter(explain.cra_gates(network.model, network.prepare([photo])).values()))
        product = skip.product(None)
        expected = f"here by {product.min():.2f} to {product.max():.2f}"
        visit.until(lambda visit=visit, expected=expected: expected in visit.said(), f"{expected} in {visit.page.url}")
        moved = explain.gate_response(network.model, network.prepare([photo]), explain.Shift(32, 0))
        response = moved.skips[skip.name]
        distance = f"{abs(response.to_before - response.to_expected):.4f}"
        visit.until(lambda visit=visit, distance=distance: distance in visit.said(), f"{distance} in {visit.page.url}")
        said.add(distance)
    assert len(said) == PEOPLE


def _channels(visits: list, photos: list[np.ndarray], network: Segmenter) -> None:
    """The gate of the channel that is most open, then of the next in the order of the gates."""
    for visit in visits:
        visit.page.get_by_role("link", name="Channels").click()
    gates = [next(iter(explain.se_gates(network.model, network.prepare([photo])).values())) for photo in photos]
    for visit, gate in zip(visits, gates, strict=True):
        _until_shown(visit, gate.max())
        visit.ready()
    for visit in visits:
        visit.press("k")
    for visit, gate in zip(visits, gates, strict=True):
        following = int(np.argsort(-gate, kind="stable")[1])
        visit.until_query("channel", str(following))
        _until_shown(visit, gate[following])


def _until_shown(visit, gate: float) -> None:
    title, wanted = visit.at("maps").locator(".annotation-text"), f"after: × {gate:.2f}"
    visit.until(lambda: any(wanted in text for text in title.all_text_contents()), f"{wanted} in {visit.page.url}")
