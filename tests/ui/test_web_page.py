"""The page of app/web in Chromium: the numbers of Python, recording, errors, keyboard, phones, dark colours."""

import numpy as np
import pytest
import soundfile
import torch
import typer

from app.web.build import build, main
from helpers.chromium import chromium, served
from helpers.models import random_clips
from helpers.node import install_packages
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.export import ExportError

pytestmark = pytest.mark.ui
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1200, "height": 900}
STATE = """async () => {
  const { clips, matrix } = await import("./page.js");
  return { matrix, clips: clips.map((clip) => clip && { features: clip.features.map((row) => Array.from(row)),
                                                         times: clip.times.map((row) => Array.from(row)) }) };
}"""

SAMPLES = """async (bytes) => {
  const { decode } = await import("./audio.js");
  return Array.from(await decode(new Blob([new Uint8Array(bytes)]), 16000, "clip"));
}"""


@pytest.fixture(scope="module")
def model():
    return AudioBranchModel.from_pretrained("checkpoints/phrases").eval()


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    install_packages()
    folder = tmp_path_factory.mktemp("web") / "page"
    build(model, folder)
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    samples, rate = soundfile.read("examples/audio/not_ill_disposed.wav")
    soundfile.write(path, samples, rate)
    with chromium(f"--use-file-for-fake-audio-capture={path}") as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    """The page, with its model loaded. No error of the browser may be left at the end."""
    page = browser.new_page(viewport=DESKTOP)
    messages = []
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.get_by_text("Ready.").wait_for()
    yield page
    page.close()
    assert not messages


def choose(page, index, path):
    page.locator("input[type=file]").nth(index).set_input_files(path)
    page.locator("#status").get_by_text("Embedded").wait_for()


def compare(page, first, second):
    choose(page, 0, first)
    page.locator(".about").nth(0).get_by_text("s", exact=False).wait_for()
    choose(page, 1, second)
    page.locator("#result").wait_for()
    return page.evaluate(STATE)


def write(path, samples, rate, subtype="PCM_16"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def test_a_wav_file_gives_the_numbers_of_python(page, model):
    paths = ["examples/audio/not_ill_disposed.wav", "examples/audio/go_forward_ten_meters.wav"]
    state, expected = compare(page, *paths), model.encode(paths)
    for row, clip in enumerate(state["clips"]):
        np.testing.assert_allclose(clip["features"], expected.segment_features[row], atol=1e-4)
        np.testing.assert_allclose(clip["times"], expected.segment_times[row], atol=1e-5)
    unit = torch.nn.functional.normalize(expected.segment_features, dim=-1)
    np.testing.assert_allclose(state["matrix"], unit[0] @ unit[1].T, atol=1e-4)
    score = (expected.sequence_embedding[0] @ expected.sequence_embedding[1]).item()
    assert float(page.locator("#score").inner_text()) == pytest.approx(score, abs=0.0051)
    assert page.locator("tbody tr").count() == page.locator("thead th").count() == 8
    assert page.locator("td.diagonal").first.inner_text() == f"{state['matrix'][0][0]:.2f}"


@pytest.mark.parametrize(
    ("rate", "subtype", "channels"),
    [(44100, "PCM_16", 2), (8000, "PCM_24", 1), (22050, "FLOAT", 1), (48000, "PCM_32", 3), (11127, "PCM_U8", 1)],
)
def test_other_rates_and_forms_of_wav_files_too(page, model, tmp_path, rate, subtype, channels):
    noise = torch.stack(random_clips([int(1.3 * rate)] * channels, seed=channels), dim=1).numpy()
    path = write(tmp_path / "clip.wav", noise, rate, subtype)
    choose(page, 0, path)
    samples = page.evaluate(SAMPLES, list(path.read_bytes()))
    np.testing.assert_allclose(samples, load_audio(path, 16000), atol=1e-5)
    got, expected = page.evaluate(STATE)["clips"][0]["features"], model.encode(path).segment_features
    np.testing.assert_allclose(got, expected, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("name", ["go_somewhere.flac", "eight_of_spades.ogg"])
def test_what_the_browser_decodes_is_near(page, model, name):
    choose(page, 0, f"examples/audio/{name}")
    got = torch.tensor(page.evaluate(STATE)["clips"][0]["features"])
    expected = model.encode(f"examples/audio/{name}").segment_features
    assert torch.nn.functional.cosine_similarity(got, expected, dim=-1).min() > 0.99


def test_a_recording_is_embedded(page):
    button = page.locator(".record").first
    button.focus()
    page.keyboard.press("Enter")  # by keyboard
    page.get_by_text("Recording…").wait_for()
    assert button.inner_text() == "Stop" and button.get_attribute("aria-pressed") == "true"
    page.wait_for_timeout(1500)
    page.keyboard.press("Enter")
    page.locator("#status").get_by_text("Embedded The recording").wait_for()
    assert button.inner_text() == "Record" and button.get_attribute("aria-pressed") == "false"
    clip = page.evaluate(STATE)["clips"][0]
    assert 1 < clip["times"][-1][1] < 4 and np.ptp(clip["features"]) > 0.1
    choose(page, 1, "examples/audio/not_ill_disposed.wav")
    assert page.locator("audio").first.is_visible() and page.locator("#result").is_visible()


def test_errors_are_one_sentence_and_the_clip_from_before_stays(page, tmp_path):
    choose(page, 0, "examples/audio/not_ill_disposed.wav")
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "cut.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    write(tmp_path / "empty.wav", np.zeros(0), 16000)
    write(tmp_path / "short.wav", np.zeros(100), 16000)
    write(tmp_path / "long.wav", np.zeros(61 * 8000), 8000)
    for name, message in {
        "notes.txt": "notes.txt can't be read as audio by this browser; choose a WAV, MP3, FLAC or Ogg file.",
        "cut.wav": "cut.wav can't be read as audio by this browser; choose a WAV, MP3, FLAC or Ogg file.",
        "empty.wav": "empty.wav lasts 0.00 s; give a clip of 0.1 to 60 s.",
        "short.wav": "short.wav lasts 0.01 s; give a clip of 0.1 to 60 s.",
        "long.wav": "long.wav lasts 61.00 s; give a clip of 0.1 to 60 s.",
    }.items():
        page.locator("input[type=file]").first.set_input_files(tmp_path / name)
        page.get_by_role("alert").get_by_text(message, exact=True).wait_for()
        assert page.locator("#status").inner_text() == "The clip from before stays."
    assert page.evaluate(STATE)["clips"][0] is not None
    choose(page, 0, "examples/audio/go_forward_ten_meters.wav")
    assert page.get_by_role("alert").is_hidden()


def test_a_microphone_that_is_refused_and_a_missing_model_are_sentences(browser, address):
    page = browser.new_page()
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    page.goto(address)
    page.get_by_text("Ready.").wait_for()
    page.locator(".record").first.click()
    page.get_by_text("The microphone can't be used (NotAllowedError); allow it in the browser, or choose").wait_for()
    assert page.locator(".record").first.inner_text() == "Record"
    page.close()
    page = browser.new_page()
    page.route("**/model.onnx", lambda route: route.fulfill(status=404))
    page.goto(address)
    page.get_by_text("The model can't be loaded: model.onnx can't be loaded (404); build the page again.").wait_for()
    assert page.locator(".record").first.is_disabled()
    page.close()


def test_the_keyboard_reaches_all_that_can_be_pressed_in_order(page):
    compare(page, "examples/audio/not_ill_disposed.wav", "examples/audio/go_forward_ten_meters.wav")
    page.evaluate("document.activeElement.blur()")
    reached = []
    while "scroll" not in reached and len(reached) < 60:  # a player has several places
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    order = [reached.index("record"), reached.index("INPUT"), reached.index("AUDIO"), reached.index("scroll")]
    assert order == sorted(order) and reached.count("record") == 2 and reached.count("INPUT") == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_its_text_can_be_read(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    compare(page, "examples/audio/not_ill_disposed.wav", "examples/audio/go_forward_ten_meters.wav")
    for selector in ("html", ".scroll"):
        assert page.locator(selector).evaluate("each => each.scrollWidth <= each.clientWidth"), selector
    for selector in ("button", ".file span"):
        assert page.locator(selector).first.bounding_box()["height"] >= 44
    # The contrast of WCAG (4.5 to 1) between all text and what is behind it, cell by cell.
    lowest = page.evaluate("""() => {
      const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      const light = (colour) => {
        canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        const parts = [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((each) => each / 255)
          .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const behind = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
      };
      const shown = [...document.querySelectorAll("h1, h2, p, td, th, caption, footer, button, .file span")]
        .filter((each) => each.offsetParent && each.textContent);
      return Math.min(...shown.map((each) => {
        const [one, other] = [light(getComputedStyle(each).color), light(behind(each))];
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      }));
    }""")
    assert lowest >= 4.5


def test_nothing_is_sent_anywhere_but_to_the_page(page, address):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    compare(page, "examples/audio/not_ill_disposed.wav", "examples/audio/go_forward_ten_meters.wav")
    assert all(url.startswith(("blob:", f"{address}/page.js")) for url in requests), requests


def test_a_folder_that_is_not_empty_and_no_checkpoint_are_one_line(model, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="exists and is not empty"):
        build(model, tmp_path)
    with pytest.raises(typer.Exit):
        main(str(tmp_path / "missing"), tmp_path / "out")
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / "out").exists()
