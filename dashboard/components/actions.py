"""The buttons beside a view's title: copy the address, present. With them: history, clipboard, cookie."""

import base64
from collections.abc import Callable

import streamlit as st

from dashboard.image_choice import MAX_BYTES
from dashboard.visits import COOKIE

_CSS = """
div { display: flex; flex-wrap: wrap; gap: .4rem; justify-content: flex-end; }
button { padding: .3rem .7rem; border: 1px solid var(--st-border-color, #8889); border-radius: 8px; background: none;
  color: var(--st-text-color); font: 400 .85rem var(--st-font); cursor: pointer; white-space: nowrap; }
button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
"""
_JS = """
// Choices within a view replace its entry in the history, so that one press of Back goes back one view.
if (!history.skinlesion) {
  history.skinlesion = true;
  const push = history.pushState.bind(history);
  history.pushState = (data, title, url) => {
    const same = url !== undefined && new URL(url, location.href).pathname === location.pathname;
    return same ? history.replaceState(data, title, url) : push(data, title, url);
  };
}
export default function ({ parentElement, data, setTriggerValue }) {
  const [copy, present] = parentElement.querySelectorAll("button");
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${data.cookie}=${data.visit}; path=/; SameSite=Strict${secure}`;
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
  const paste = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file || file.size > data.most) return;
    event.preventDefault();
    const reader = new FileReader();
    reader.onload = () => setTriggerValue("pasted", reader.result.split(",")[1]);
    reader.readAsDataURL(file);
  };
  document.addEventListener("paste", paste);
  return () => document.removeEventListener("paste", paste);
}
"""
_actions = st.components.v2.component(
    "skinlesion_actions",
    html='<div><button type="button">Copy link</button><button type="button">Present</button></div>',
    css=_CSS,
    js=_JS,
)


def actions(
    presenting: bool,
    visit: str,
    *,
    key: str,
    on_present: Callable[[bool], None],
    on_paste: Callable[[str, bytes], None],
) -> None:
    """Show them.

    Args:
        presenting: whether the app is in present mode.
        visit: the visitor's token, kept by the browser in a cookie.
        key: the component's.
        on_present: called with the new mode before the page runs again.
        on_paste: called with the name and the bytes of an image that was pasted.
    """

    def present() -> None:
        on_present(st.session_state[key].get("present") is True)  # a browser may send anything

    def paste() -> None:
        text = st.session_state[key].get("pasted")
        if not isinstance(text, str) or len(text) > 4 * MAX_BYTES / 3 + 4:
            return
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError:
            return
        on_paste("pasted.png", data)

    data = {"presenting": presenting, "visit": visit, "cookie": COOKIE, "most": MAX_BYTES}
    _actions(key=key, data=data, on_present_change=present, on_pasted_change=paste)
