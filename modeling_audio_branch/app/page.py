"""The page: a Gradio app with three parts, one clip, two clips, and a phrase in a recording."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

try:
    import gradio as gr
except ImportError as error:
    raise ImportError("The page needs Gradio; install it with: pip install 'audio-branch[app]'") from error

from ..modeling_audio_branch import AudioBranchPreTrainedModel
from .comparison import compare_clips
from .files import WorkFolder
from .phrases import find_phrase
from .segments import segment_at, view_segments, write_segment
from .sentences import BAD_INPUT, need, sentence_of

WIDE, NARROW = 9.0, 4.6  # inches of figures on a screen, and on that of a phone
MAX_FILE = "100mb"
FONTS = ["system-ui", "sans-serif"]  # of the machine: nothing is fetched from elsewhere
CSS = """
.gradio-container {width: 100%; max-width: 900px !important; margin: auto}
.picture {padding-top: 2.6em; background: white; border-radius: 8px}
.picture img {width: 100%; height: auto; cursor: pointer}
.picture .icon-button-wrapper {display: none}
.message {font-size: 1.05em; min-height: 1.6em}
"""


class Page:
    """What the buttons do: each method gives the values of the parts of the page that it changes.

    Args:
        model: An [`AudioBranchModel`] or a classifier, in eval mode.
    """

    def __init__(self, model: AudioBranchPreTrainedModel):
        self.model, self.work = model, WorkFolder()

    def show_segments(self, file: str | None, request: gr.Request) -> tuple:
        """Sentence, picture, segments to choose from, sound, downloads, probabilities, and what a click needs."""

        def show():
            view = view_segments(self.model, need(file, "clip"), self.work.new(), width_for(request.headers))
            state = {"file": file, "times": view.times, "names": view.names, "span": view.span}
            return (
                view.summary,
                gr.Image(view.picture, visible=True),
                gr.Radio(view.names, value=None, visible=True),
                gr.Audio(visible=True, value=None),
                gr.DownloadButton(value=view.npy, visible=True),
                gr.DownloadButton(value=view.json, visible=True),
                gr.Image(view.probabilities, visible=view.probabilities is not None),
                state,
            )

        def hide(sentence):
            gone = gr.Image(None, visible=False)
            buttons = [gr.DownloadButton(value=None, visible=False) for _ in range(2)]
            return sentence, gone, gr.Radio([], visible=False), gr.Audio(None, visible=False), *buttons, gone, None

        return in_a_sentence(show, hide, [file])

    def click_segment(self, state: dict | None, event: gr.SelectData) -> str | None:
        """The name of the segment at the pixel of the picture that was clicked."""
        if not state:
            return None
        names = state["names"]
        return names[segment_at(event.index[0], state["span"], state["times"])]

    def play_segment(self, name: str | None, state: dict | None) -> str | None:
        """The sound of a segment, by its name."""
        if not state or name not in state["names"]:
            return None
        index = state["names"].index(name)
        return write_segment(state["file"], *state["times"][index], self.work.new() / f"segment_{index + 1}.wav")

    def compare(self, first: str | None, second: str | None) -> tuple:
        """Sentence and picture."""

        def show():
            picture, sentence = compare_clips(
                self.model, need(first, "first clip"), need(second, "second clip"), self.work.new()
            )
            return sentence, gr.Image(picture, visible=True)

        return in_a_sentence(show, lambda sentence: (sentence, gr.Image(None, visible=False)), [first, second])

    def find(self, phrase: str | None, recording: str | None) -> tuple:
        """Sentence, hits to choose from, sound of the best, picture, and the sounds of all."""

        def show():
            found = find_phrase(self.model, need(phrase, "phrase"), need(recording, "recording"), self.work.new())
            best = found.names[0] if found.names else None
            return (
                found.sentence,
                gr.Radio(found.names, value=best, visible=bool(best)),
                gr.Audio(found.sounds[0] if best else None, visible=bool(best)),
                gr.Image(found.picture, visible=bool(best)),
                dict(zip(found.names, found.sounds, strict=True)),
            )

        def hide(sentence):
            gone = gr.Radio([], visible=False), gr.Audio(None, visible=False), gr.Image(None, visible=False)
            return sentence, *gone, {}

        return in_a_sentence(show, hide, [phrase, recording])

    def play_hit(self, name: str | None, sounds: dict[str, str]) -> str | None:
        """The sound of a hit, by its name."""
        return (sounds or {}).get(name)


def in_a_sentence(show: Callable[[], tuple], hide: Callable[[str], tuple], files: list[str | None]) -> tuple:
    """What `show` gives, or, if the input is wrong, what `hide` gives for the sentence that says why."""
    try:
        return show()
    except BAD_INPUT as error:
        return hide(f"⚠️ {sentence_of(error, files)}")


def width_for(headers: Mapping[str, str]) -> float:
    """Inches of a figure for the browser that sent these headers."""
    return NARROW if "Mobi" in (headers.get("user-agent") or "") else WIDE


def build_page(model: AudioBranchPreTrainedModel, name: str) -> gr.Blocks:
    """The page of a model; `name` is shown."""
    page = Page(model.eval())
    with gr.Blocks(title="Audio Branch", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(
            f"# Audio Branch\nModel: `{Path(name).name}`. Each clip becomes {model.config.num_segments} segments."
        )
        with gr.Tab("One clip"):
            _one_clip(page)
        with gr.Tab("Two clips"):
            _two_clips(page)
        with gr.Tab("Find"):
            _phrase(page)
    return blocks


def _audio(label: str, **options: Any) -> gr.Audio:
    return gr.Audio(label=label, sources=["upload", "microphone"], type="filepath", buttons=[], **options)


def _picture(label: str) -> gr.Image:
    options = {"type": "filepath", "format": "png", "interactive": False, "visible": False, "buttons": []}
    return gr.Image(label=label, elem_classes="picture", **options)


def _player(label: str) -> gr.Audio:
    return gr.Audio(label=label, interactive=False, autoplay=True, visible=False, type="filepath", buttons=["download"])


def _one_clip(page: Page) -> None:
    file = _audio("Clip (at most 60 s)")
    button = gr.Button("Show segments", variant="primary")
    message = gr.Markdown(elem_classes="message")
    picture = _picture("Click a segment to hear it")
    chosen = gr.Radio([], label="Choose a segment to hear it", visible=False)
    sound = _player("Segment")
    labels = _picture("Labels over time")
    with gr.Row():
        npy = gr.DownloadButton("Download .npy", visible=False)
        json = gr.DownloadButton("Download .json", visible=False)
    state = gr.State()
    outputs = [message, picture, chosen, sound, npy, json, labels, state]
    button.click(page.show_segments, [file], outputs, api_name="segments")
    picture.select(page.click_segment, [state], chosen, api_name=False, show_progress="hidden")
    chosen.change(page.play_segment, [chosen, state], sound, api_name="play_segment", show_progress="hidden")


def _two_clips(page: Page) -> None:
    with gr.Row():
        files = [_audio("First clip (rows)"), _audio("Second clip (columns)")]
    button = gr.Button("Compare", variant="primary")
    message = gr.Markdown(elem_classes="message")
    picture = _picture("Cosine similarity")
    button.click(page.compare, files, [message, picture], api_name="compare")


def _phrase(page: Page) -> None:
    with gr.Row():
        files = [_audio("Phrase (0.2 to 20 s)"), _audio("Recording")]
    button = gr.Button("Find", variant="primary")
    message = gr.Markdown(elem_classes="message")
    chosen = gr.Radio([], label="Choose a hit to hear it", visible=False)
    sound = _player("Hit")
    picture = _picture("The best hit, frame by frame")
    sounds = gr.State({})
    button.click(page.find, files, [message, chosen, sound, picture, sounds], api_name="find")
    chosen.input(page.play_hit, [chosen, sounds], sound, api_name="play_hit", show_progress="hidden")


def launch(page: gr.Blocks, host: str | None = None, port: int | None = None) -> None:
    """Shows a page until the process is ended; without host and port, where the environment says, as on a Space."""
    theme = gr.themes.Soft(font=FONTS, font_mono=["ui-monospace", "monospace"])
    options = {"theme": theme, "css": CSS, "max_file_size": MAX_FILE, "footer_links": [], "ssr_mode": False}
    page.queue(default_concurrency_limit=2, max_size=32)
    page.launch(server_name=host, server_port=port, share=False, quiet=True, **options)
