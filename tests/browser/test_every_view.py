"""Every view in a real browser, on a desktop and on a phone: complete, captioned, and no wider than the screen."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from dashboard.frame import PAGES

VIEWS = [name for views in PAGES.values() for name, *_ in views]
SIZES = {"desktop": (1400, 1000), "phone": (400, 850)}
# Pictures that are not followed by a caption before the next one; strips to choose from are no pictures.
_BARE = """() => {
    const main = document.querySelector('[data-testid="stMain"]');
    const kinds = ['stPlotlyChart', 'stImage', 'stBidiComponentIsolated', 'stCaptionContainer'];
    const found = [...main.querySelectorAll(kinds.map(kind => `[data-testid="${kind}"]`).join(','))]
        .filter(element => !element.closest('.st-key-gallery, .st-key-errors-tiles, .st-key-actions'));
    const captioned = element => element?.dataset.testid === 'stCaptionContainer' && element.textContent.length > 20;
    return found.filter((element, i) => element.dataset.testid !== 'stCaptionContainer' && !captioned(found[i + 1]))
        .map(element => element.closest('[class*="st-key-"]')?.className || element.dataset.testid);
}"""
_WIDTHS = """() => ['html', '[data-testid="stMain"]', '[data-testid="stMainBlockContainer"]'].map(name => {
    const element = document.querySelector(name);
    return [name, element.scrollWidth - element.clientWidth];
})"""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_complete(visitor, view: str, size: str):
    visit = visitor(SIZES[size]).open(view)
    assert visit.page.get_by_text("Ignored in the address").count() == 0
    assert visit.page.get_by_text("What to look for").count() == 1
    for fact in ("device cpu", "scan engine cpu", "weights ", "torch"):
        assert fact in visit.footer()
    assert visit.page.evaluate(_BARE) == []
    assert [(name, over) for name, over in visit.page.evaluate(_WIDTHS) if over > 1] == []
    visit.check()
