"""The buttons beside a view's title: copy the address, and present."""

from collections.abc import Callable

import streamlit as st

_CSS = """
div { display: flex; gap: .4rem; justify-content: flex-end; }
button { padding: .3rem .7rem; border: 1px solid var(--st-border-color, #8889); border-radius: 8px; background: none;
  color: var(--st-text-color); font: 400 .85rem var(--st-font); cursor: pointer; white-space: nowrap; }
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
"""
_JS = """
export default function ({ parentElement, data, setTriggerValue }) {
  const [copy, present] = parentElement.querySelectorAll("button");
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      copy.textContent = "Copied";
    } catch {
      prompt("Copy this address", location.href);  // without https a page may not write to the clipboard
    }
    setTimeout(() => { copy.textContent = "Copy link"; }, 2000);
  };
  present.textContent = data.presenting ? "End presenting" : "Present";
  present.onclick = () => setTriggerValue("present", !data.presenting);
}
"""
_actions = st.components.v2.component(
    "skinlesion_actions",
    html='<div><button type="button">Copy link</button><button type="button">Present</button></div>',
    css=_CSS,
    js=_JS,
)


def actions(presenting: bool, key: str, on_present: Callable[[bool], None]) -> None:
    """Show them.

    Args:
        presenting: whether the app is in present mode.
        key: the component's.
        on_present: called with the new mode before the page runs again.
    """

    def take() -> None:
        on_present(st.session_state[key].get("present") is True)  # a browser may send anything

    _actions(key=key, data={"presenting": presenting}, on_present_change=take)
