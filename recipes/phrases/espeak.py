"""Synthesized speech by espeak-ng, called through ctypes."""

import ctypes
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modeling_audio_branch.audio_input import load_audio

from .audio import SAMPLE_RATE, trim_and_normalize

UNLIKE_SPEECH = re.compile("whisper|robo|croak|demonic|tweaky|storm", re.IGNORECASE)  # names of variants to leave out
AUDIO_OUTPUT_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples go to a callback, before espeak_Synth returns
RATE_PARAMETER, PITCH_PARAMETER = 1, 3  # espeak_PARAMETER
END_OF_EVENTS, WORD_EVENT = 0, 1  # espeak_EVENT_TYPE
UTF8 = 1  # espeakCHARS_UTF8
IPA_WITH_TIES = 0x02 | 0x80 | 0x361 << 8  # phoneme modes: IPA, and U+0361 between the characters of one phoneme


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("type", "message", "text_position", "length", "milliseconds", "sample")),
        *(("user_data", ctypes.c_void_p), ("id", ctypes.c_char * 8)),
    ]


@dataclass
class SynthesizedClip:
    """Samples (L,) at 8 kHz, and (position of a word's first character in the text, start of the word in seconds).

    espeak-ng reports no start for some words: it may speak "na svet" as one word, and a number as many.
    """

    samples: np.ndarray
    word_starts: list[tuple[int, float]]


class Espeak:
    """The espeak-ng library. Its state is global, so that a process holds one instance.

    `variants` are the endings that turn the name of a language into the name of a voice: "", "+f1", "+Alex", ...
    """

    def __init__(self):
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = Path(espeakng_loader.get_data_path())
        names = sorted(path.name for path in (data / "voices" / "!v").iterdir())
        self.variants = ["", *(f"+{name}" for name in names if not UNLIKE_SPEECH.search(name))]
        self.sampling_rate = self.library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), 0)
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._blocks, self._word_starts = [], []
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
        self._callback = prototype(self._receive)  # kept: the library calls it for as long as it lives
        self.library.espeak_SetSynthCallback(self._callback)

    def synthesize(self, text: str, voice: str, words_per_minute: int, pitch: int) -> SynthesizedClip:
        """Speaks a text.

        Args:
            text: Any text of the voice's language.
            voice: A language and one of `variants`, such as "cs+f1".
            words_per_minute: Speed, 80 to 450.
            pitch: 0 to 99.

        Raises:
            ValueError: espeak-ng has no such voice. (It would silently keep the previous one.)
        """
        self._set_voice(voice)
        self.library.espeak_SetParameter(RATE_PARAMETER, words_per_minute, 0)
        self.library.espeak_SetParameter(PITCH_PARAMETER, pitch, 0)
        self._blocks, self._word_starts = [], []
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        samples = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.int16)
        samples = load_audio(samples, SAMPLE_RATE, sampling_rate=self.sampling_rate).numpy()
        return SynthesizedClip(samples, self._word_starts)

    def phonemes(self, text: str, voice: str) -> str:
        """A text's phonemes in IPA, with ties inside diphthongs and affricates.

        Raises:
            ValueError: espeak-ng has no such voice.
        """
        self._set_voice(voice)
        rest, clauses = ctypes.c_char_p(text.encode()), []
        while rest.value is not None:
            clauses.append(self.library.espeak_TextToPhonemes(ctypes.byref(rest), UTF8, IPA_WITH_TIES).decode())
        return " ".join(clauses)

    def _set_voice(self, voice):
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}; give a language code and one of its variants.")

    def _receive(self, samples, count, events):
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in itertools.takewhile(lambda event: event.type != END_OF_EVENTS, events):
            if event.type == WORD_EVENT:
                self._word_starts.append((event.text_position - 1, event.milliseconds / 1000))
        return 0


def synthesize_voices(
    espeak: Espeak, text: str, language: str, number: int, generator: random.Random
) -> Iterator[tuple[str, np.ndarray]]:
    """(voice, trimmed and normalized samples) of a text in `number` random voices, speeds and pitches."""
    for variant in generator.sample(espeak.variants, number):
        speed, pitch = generator.randint(110, 240), generator.randint(20, 80)
        clip = espeak.synthesize(text, language + variant, speed, pitch)
        yield f"espeak{variant}", trim_and_normalize(clip.samples)
