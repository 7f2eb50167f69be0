"""The page of `audio-branch app` (app/page.py, cli/gradio_app.py) and a Space (hub/space_app.py), in Chromium.

The servers run in `.venv-app`, which holds what a Space's requirements.txt lists, and nothing else.
"""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import expect

from helpers.chromium import chromium
from helpers.models import make_model, tiny_config
from helpers.page_driver import (
    CLIP,
    PHONE,
    PHRASE,
    RECORDING,
    SECOND,
    SECONDS_60,
    compare,
    find,
    open_page,
    picture,
    show_segments,
)
from helpers.servers import APP_PYTHON, free_port, serving, web_app
from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification, AudioBranchModel
from modeling_audio_branch.hub.space import write_space

pytestmark = pytest.mark.ui
ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "checkpoints/phrases"
WIDE_PARTS = """() => [...document.querySelectorAll('*')].filter((each) => each.checkVisibility()
  && each.getBoundingClientRect().right > innerWidth + 1 && !each.closest('.visually-hidden, .overflow-dropdown')
  ).map((each) => each.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def address():
    with web_app() as (_, address):
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium("--autoplay-policy=no-user-gesture-required") as browser:
        yield browser


@pytest.fixture(scope="module")
def model():
    return AudioBranchModel.from_pretrained(CHECKPOINT).eval()


@pytest.fixture
def page(browser, address):
    """The page, whose every request goes to this machine."""
    page = open_page(browser, address)
    elsewhere = []
    page.on("request", lambda each: elsewhere.append(each.url) if not re.match(LOCAL, each.url) else None)
    yield page
    page.context.close()
    assert not elsewhere


LOCAL = r"(http://127\.0\.0\.1:|data:|blob:)"


def is_playing(page):
    """Waits until a player's button offers to pause."""
    expect(page.get_by_role("button", name="Pause").first).to_be_visible(timeout=SECONDS_60)


def test_a_clip_is_shown_and_a_click_plays_a_segment(page, model):
    show_segments(page)
    image = picture(page)
    expect(page.get_by_text("8 segments of 0.37 s on average")).to_be_visible()
    box = image.bounding_box()
    image.click(position={"x": 0.5 * box["width"], "y": 0.3 * box["height"]})
    expect(page.get_by_role("radio", checked=True)).to_have_count(1, timeout=SECONDS_60)
    chosen = page.get_by_role("radio", checked=True).get_attribute("value") or ""
    is_playing(page)
    assert chosen.startswith(("4", "5")), chosen  # the middle of the picture, a little before that of the axis


def test_segments_are_chosen_by_the_keyboard(page):
    show_segments(page)
    picture(page)
    first = page.get_by_role("radio").first
    first.focus()
    page.keyboard.press("Space")
    is_playing(page)
    page.keyboard.press("Tab")  # each is a stop of its own in this version of Gradio
    page.keyboard.press("Space")
    expect(page.get_by_role("radio").nth(1)).to_be_checked(timeout=SECONDS_60)


def test_the_downloads_are_the_features(page, model, tmp_path):
    show_segments(page)
    picture(page)
    expected = model.encode(CLIP)
    for name in ("npy", "json"):
        button = page.get_by_text(f"Download .{name}")
        with page.expect_download(timeout=SECONDS_60) as download:
            button.click()
        download.value.save_as(tmp_path / f"features.{name}")
    assert np.abs(np.load(tmp_path / "features.npy") - expected.segment_features.numpy()).max() <= 1e-5
    written = json.loads((tmp_path / "features.json").read_text())
    assert written["file"] == CLIP.name
    torch.testing.assert_close(torch.tensor(written["segment_times"]), expected.segment_times, atol=1e-5, rtol=0)


def test_two_clips_are_compared(page, model):
    compare(page)
    picture(page)
    first, second = torch.nn.functional.normalize(model.encode([PHRASE, SECOND]).segment_features, dim=-1)
    similarity = f"{(first * second).sum(-1).mean():.2f}"
    expect(page.get_by_text(f"Mean cosine similarity of the segments in order: {similarity}")).to_be_visible()


def test_a_phrase_is_found_and_the_hits_are_played(page):
    find(page)
    picture(page)
    expect(page.get_by_role("radio").first).to_be_checked()
    is_playing(page)
    page.get_by_role("radio").nth(1).click()
    expect(page.get_by_role("radio").nth(1)).to_be_checked()
    is_playing(page)


def test_a_broken_file_and_a_missing_one_get_their_sentences(page, tmp_path):
    page.get_by_role("button", name="Show segments").click()
    expect(page.get_by_text("No clip was given; record one")).to_be_visible(timeout=SECONDS_60)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"This is no audio.")
    show_segments(page, broken)
    sentence = page.get_by_text("can't be read as audio")
    expect(sentence).to_be_visible(timeout=SECONDS_60)
    assert "broken.wav" in sentence.inner_text() and "/tmp" not in sentence.inner_text()
    expect(page.locator(".picture:visible img")).to_have_count(0)


def test_nothing_is_wider_than_a_phone(browser, address):
    for act in (show_segments, compare, find):
        page = open_page(browser, address, **PHONE)
        act(page)
        picture(page)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(WIDE_PARTS) == []
        page.context.close()


def test_the_page_is_dark_where_the_reader_wants_it(browser, address):
    shades = {}
    for dark in (False, True):
        page = open_page(browser, address, dark=dark)
        corner = page.screenshot(clip={"x": 0, "y": 300, "width": 20, "height": 20})
        shades[dark] = np.asarray(Image.open(io.BytesIO(corner)).convert("L")).mean()
        page.context.close()
    assert shades[False] > 200 and shades[True] < 50


def test_gradios_client_gets_the_same(address, model, tmp_path):
    client = Client(address, verbose=False, download_files=str(tmp_path))
    summary, shown, names, _, npy, *_ = client.predict(handle_file(str(CLIP)), api_name="/segments")
    assert summary.startswith("8 segments") and shown["visible"] and len(names["choices"]) == 8
    assert np.abs(np.load(npy["value"]) - model.encode(CLIP).segment_features.numpy()).max() <= 1e-5
    assert Path(client.predict(names["choices"][2][0], api_name="/play_segment")).read_bytes().startswith(b"RIFF")
    sentence, shown = client.predict(handle_file(str(PHRASE)), handle_file(str(SECOND)), api_name="/compare")
    assert "in order: 0.75" in sentence and shown["visible"]
    sentence, hits, *_ = client.predict(handle_file(str(PHRASE)), handle_file(str(RECORDING)), api_name="/find")
    assert hits["choices"][0][0].startswith("1. at 0:38.02")
    sentence, hits, *_ = client.predict(handle_file(str(RECORDING)), handle_file(str(PHRASE)), api_name="/find")
    assert "give 0.2 to 20 s of speech" in sentence and not hits["visible"]


def test_a_classifier_shows_its_labels_over_time(browser, tmp_path):
    config = tiny_config(num_segments=8, id2label={0: "calm", 1: "angry"}, label2id={"calm": 0, "angry": 1})
    model = make_model(AudioBranchForAudioClassification, config)
    model.save_pretrained(tmp_path)
    AudioBranchFeatureExtractor.from_model(model).save_pretrained(tmp_path)
    with web_app("--model", tmp_path) as (_, address):
        page = open_page(browser, address)
        show_segments(page)
        picture(page)
        expect(page.locator(".picture:visible img")).to_have_count(2)
        expect(page.get_by_text("Most probable: ")).to_be_visible()
        page.context.close()


def test_a_space_starts_from_its_own_requirements(browser, tmp_path):
    """In an environment of these alone, in a folder elsewhere, where only the Space's copy of the package is."""
    model = make_model(AudioBranchModel, tiny_config(num_segments=8, attention_window=3))
    model.save_pretrained(tmp_path / "repository")
    AudioBranchFeatureExtractor.from_model(model).save_pretrained(tmp_path / "repository")
    space, port = tmp_path / "space", free_port()
    write_space(tmp_path / "repository", space, "user/name", "mit")
    where = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    with serving([APP_PYTHON, "app.py"], port, cwd=space, **where) as (_, address):
        page = open_page(browser, address)
        show_segments(page)
        picture(page)
        expect(page.get_by_text("8 segments of")).to_be_visible()
        page.context.close()
