"""What people do on the page of `audio-branch app`, in Chromium."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

SECONDS_60 = 60_000  # ms that an answer may take on a loaded machine
AUDIO = Path(__file__).parents[2] / "examples"
CLIP = AUDIO / "audio/go_somewhere.flac"
PHRASE, RECORDING = AUDIO / "phrases/paola_marked_urgent.flac", AUDIO / "phrases/carlo_voicemail.ogg"
SECOND = AUDIO / "phrases/carlo_marked_urgent.flac"
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "user_agent": "Mozilla/5.0 (Linux; Android 14) Chrome/140 Mobile Safari/537.36",
}
# The player keeps its audio element in a shadow tree or not at all, so its script is asked.
PLAYING = """() => { const found = []; const walk = (root) => { for (const each of root.querySelectorAll('*')) {
  if (each.tagName === 'AUDIO') found.push(each); if (each.shadowRoot) walk(each.shadowRoot); } };
  walk(document); return found.map((each) => [each.currentTime, each.duration, each.paused]); }"""


def open_page(browser, address: str, dark: bool = False, **options) -> Page:
    """A new page of the app, once it can be used."""
    options = {"viewport": {"width": 1000, "height": 1100}} | options
    page = browser.new_context(**options).new_page()
    page.goto(f"{address}/?__theme={'dark' if dark else 'light'}")
    expect(page.get_by_role("button", name="Show segments")).to_be_visible(timeout=SECONDS_60)
    return page


def upload(page: Page, place: int, path: Path) -> None:
    """Drops a file into the place-th of the visible parts that take audio, and waits until the server has it."""
    with page.expect_response(re.compile("/upload"), timeout=SECONDS_60):
        page.locator("[role=tabpanel]:visible input[type=file]").nth(place).set_input_files(path)
    page.wait_for_timeout(500)


def show_segments(page: Page, path: Path = CLIP) -> None:
    upload(page, 0, path)
    page.get_by_role("button", name="Show segments").click()


def compare(page: Page, first: Path = PHRASE, second: Path = SECOND) -> None:
    page.get_by_role("tab", name="Two clips").click()
    for path in (first, second):
        upload(page, 0, path)  # a place that has its file takes no other
    page.get_by_role("button", name="Compare", exact=True).click()


def find(page: Page, phrase: Path = PHRASE, recording: Path = RECORDING) -> None:
    page.get_by_role("tab", name="Find").click()
    for path in (phrase, recording):
        upload(page, 0, path)
    page.get_by_role("button", name="Find", exact=True).click()


def picture(page: Page):
    """The picture that is shown, once it is loaded."""
    image = page.locator(".picture:visible img").first
    expect(image).to_be_visible(timeout=SECONDS_60)
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")
    return image
