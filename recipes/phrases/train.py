"""Trains the default checkpoint: segment embeddings that find the same phrase said by another speaker.

    python examples/phrases_data.py
    python examples/phrase_words.py
    python examples/pretrain_phrases.py --minutes 45      # again until it is done: each call goes on where it ended
    python examples/evaluate_phrases.py outputs/phrases   # on speakers, and a language, that were never seen

Two clips of the same text, by people (whole sentences, or words cut out) or by espeak-ng, are augmented and embedded;
each has to find the other among all clips of the batch by its 8 segment features, compared in order (InfoNCE, van den
Oord et al. 2018, both directions). Settings were chosen on the phrases of Kajongg, of which nothing is trained on.
"""

import argparse
import io
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from phrases_data import DATA, RATE, decode, development_phrases, speech

from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.audio_input import pad_batch

TEMPERATURE = 0.05


class Phrases(torch.utils.data.Dataset):
    """Items are texts: two of the text's clips, chosen and augmented anew each time.

    Each of the sources has rows (a clip's text, language, voice, start and length) and samples (all clips' in one row).
    """

    def __init__(self, *sources):
        self.samples, texts = [samples for _, samples in sources], {}
        for source, (rows, _) in enumerate(sources):
            for row in rows:
                texts.setdefault((row["language"], row["text"]), []).append(row | {"source": source})
        self.texts = [clips for clips in texts.values() if len(clips) > 1]

    def __len__(self):
        return len(self.texts)

    def clip(self, row):
        samples = self.samples[row["source"]]
        return samples[row["start"] : row["start"] + row["length"]].astype(np.float32) / 2**15

    def __getitem__(self, index):
        generator = np.random.default_rng(torch.randint(2**31, ()).item())
        rows = self.texts[index]
        humans = [row for row in rows if not row["voice"].startswith("espeak")]
        others = [row for row in rows if row["voice"].startswith("espeak")]
        first = humans if not others or (humans and generator.random() < 0.75) else others
        pair = [first[generator.integers(len(first))]]
        rest = [row for row in rows if row["voice"] != pair[0]["voice"]] or [row for row in rows if row is not pair[0]]
        pair.append(rest[generator.integers(len(rest))])
        return {"clips": [augment(self.clip(row), generator) for row in pair]}


def augment(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Another speed (and pitch and vocal tract), a pause, edges, channel, noise, telephone codec; (L,) at 8 kHz."""
    chance = generator.random(9) < (0.8, 0.5, 0.25, 0.15, 0.6, 0.25, 0.6, 0.3, 0.2)
    if chance[0]:
        samples = at_another_speed(samples, generator)
    if chance[8]:
        samples = with_a_pause(samples, generator)
    samples = samples * generator.uniform(0.1, 1.0)
    if chance[1]:  # trimmed too late at either end
        samples = np.pad(samples, tuple((generator.uniform(0, 0.12, 2) * RATE).astype(int)))
    if chance[2]:  # trimmed too early
        first, last = (generator.uniform(0, 0.05, 2) * RATE).astype(int)
        samples = samples[min(first, len(samples) // 10) : len(samples) - min(last, len(samples) // 10)]
    if chance[3]:  # a click that dies away, as at the start of some telephone recordings
        length = min(len(samples), int(generator.uniform(0.02, 0.1) * RATE))
        click = generator.standard_normal(length) * np.exp(-np.linspace(0, 6, length))
        samples[:length] += np.abs(samples).max() * generator.uniform(0.2, 1.0) * click
    samples = through_a_channel(samples, generator, *chance[4:6])
    if chance[6]:
        noise = generator.standard_normal(len(samples))
        if generator.random() < 0.5:
            noise = np.cumsum(noise) - np.convolve(np.cumsum(noise), np.ones(64) / 64, "same")  # more low frequencies
        decibels = generator.uniform(5, 35)
        noise *= np.sqrt(np.square(samples).mean() / (np.square(noise).mean() + 1e-9)) * 10 ** (-decibels / 20)
        samples = samples + noise
    if chance[7]:
        file = io.BytesIO()
        soundfile.write(file, samples / max(1.0, np.abs(samples).max()), RATE, format="WAV", subtype="GSM610")
        file.seek(0)
        samples = soundfile.read(file, dtype="float32")[0][: len(samples)]
    return samples.astype(np.float32)


def at_another_speed(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Read faster or slower, and that not evenly: people don't stretch the same syllables."""
    knots = 2 + len(samples) // (RATE // 4)
    speeds = generator.uniform(0.8, 1.25) * np.exp(0.12 * generator.standard_normal(knots))
    speeds = np.interp(np.linspace(0, knots - 1, len(samples)), np.arange(knots), speeds)
    times = np.cumsum(1 / speeds)  # of the samples
    return np.interp(np.arange(times[0], times[-1]), times, samples).astype(np.float32)


def with_a_pause(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A breath at the quietest place of the middle, where there may be one: not in clips under 0.8 s."""
    size = RATE // 50
    power = np.square(samples[: len(samples) // size * size].reshape(-1, size)).sum(1)
    if len(power) < 40:
        return samples
    middle = slice(len(power) // 5, -len(power) // 5)
    place = (middle.start + power[middle].argmin()) * size + size // 2
    return np.insert(samples, place, np.zeros(int(generator.uniform(0.05, 0.25) * RATE), np.float32))


def through_a_channel(samples: np.ndarray, generator: np.random.Generator, band: bool, room: bool) -> np.ndarray:
    """A microphone with a band and a colouring of its own, in a room that echoes: one product of spectra."""
    if not (band or room):
        return samples
    length = -(-(len(samples) + RATE // 4) // 256) * 256  # an FFT of a prime length is slow
    frequencies = np.fft.rfftfreq(length, 1 / RATE)
    spectrum = np.fft.rfft(samples, length)
    if band:
        low, high = generator.uniform(0, 350), generator.uniform(2500, 4000)
        colour = np.interp(frequencies, np.linspace(0, RATE / 2, 7), generator.uniform(-8, 8, 7))  # dB
        spectrum *= (frequencies >= low) & (frequencies <= high)
        spectrum *= 10 ** (colour / 20)
    if room:
        echoes = generator.standard_normal(RATE // 4) * np.exp(-np.arange(RATE // 4) / generator.uniform(100, 500))
        echoes *= generator.uniform(0.1, 0.6) / np.sqrt(np.square(echoes).sum())
        echoes[0] = 1.0
        spectrum *= np.fft.rfft(echoes, length)
    return np.fft.irfft(spectrum, length)[: len(samples)]


def collate(items: list[dict]) -> dict[str, torch.Tensor]:
    """2 N clips, the pairs at i and i + N, as raw audio and its mask."""
    waves = [torch.from_numpy(item["clips"][side]) for side in (0, 1) for item in items]
    waveform, mask = pad_batch(waves)
    return {"input_features": waveform, "attention_mask": torch.ones_like(waveform).bool() if mask is None else mask}


def info_nce(segment_features: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """Loss of 2 N clips (2 N, S, D), of which i and i + N belong together; the others of the batch do not."""
    first, second = F.normalize(segment_features, dim=-1).flatten(1).chunk(2)  # (N, S D) each
    logits = first @ second.T / (segment_features.shape[1] * temperature)  # mean cosine of the segments, in order
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


class LengthBucketBatchSampler(torch.utils.data.Sampler):
    """Batches of one language and of like lengths: neither may tell the right partner from the wrong ones.

    Each holds about as many seconds of speech, so that short clips, which are harder to tell apart, meet more others.
    """

    def __init__(self, dataset: Phrases, seconds: float, seed: int):
        self.seed, self.epoch = seed, 0
        languages = {}
        for place, clips in enumerate(dataset.texts):
            languages.setdefault(clips[0]["language"], []).append((clips[0]["length"] / RATE, place))
        self.languages = [sorted(pairs) for _, pairs in sorted(languages.items())]
        self.ends = []  # of each language's batches
        for pairs in self.languages:
            ends, total, start = [], 0.0, 0
            for end, (length, _) in enumerate(pairs, 1):
                total += length
                if total > seconds or end - start == 192:
                    ends.append(end)
                    total, start = 0.0, end
            self.ends.append(ends)

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __iter__(self):
        generator = np.random.default_rng((self.seed, self.epoch))
        batches = []
        for pairs, ends in zip(self.languages, self.ends, strict=True):
            lengths, places = map(np.array, zip(*pairs, strict=True))
            order = np.argsort(lengths * np.exp(0.1 * generator.standard_normal(len(pairs))))
            batches += [part.tolist() for part in np.split(places[order], ends)[:-1]]
        return iter([batches[index] for index in generator.permutation(len(batches))])

    def __len__(self):
        return sum(map(len, self.ends))


class PhraseTrainer(Trainer):
    def __init__(self, *positional, seconds: float, **named):
        super().__init__(*positional, **named)
        self.seconds = seconds

    def get_train_dataloader(self):
        batches = LengthBucketBatchSampler(self.train_dataset, self.seconds, self.args.seed)
        loader = torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator, num_workers=1
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        out = model(**inputs)
        loss = info_nce(out.segment_features)
        return (loss, out) if return_outputs else loss


class DevRetrievalCallback(TrainerCallback):
    """Measures the development phrases now and then, and stops after so many minutes."""

    def __init__(self, minutes: float, every: int):
        self.stop, self.every = time.time() + 60 * minutes, every
        self.languages = [[[*map(read, person)] for person in people] for people in development_phrases()]

    def on_step_end(self, arguments, state, control, model=None, **_):
        if state.global_step % self.every == 0:
            was_training = model.training
            model.eval()
            embedded = [[embed(model, clips) for clips in people] for people in self.languages]
            model.train(was_training)
            pairs = [pair for people in embedded for pair in itertools.combinations(people, 2)]
            hits = {k: torch.cat([found(similarity(*pair), k) for pair in pairs]).mean() for k in (1, 5)}
            scores = {f"R@{k}": round(100 * hit.item(), 1) for k, hit in hits.items()}
            state.log_history.append({"step": state.global_step, "development": scores})
            print(json.dumps(state.log_history[-1]), flush=True)
        if time.time() > self.stop:
            control.should_save = control.should_training_stop = True
        return control


def read(path: Path) -> np.ndarray:
    """A recording at 8 kHz, trimmed to its speech."""
    return speech(decode(path))


def embed(model, clips: list[np.ndarray], batch_size: int = 64) -> torch.Tensor:
    """Unit segment features (N, S, D) of clips at the model's rate."""
    out = model.encode(clips, sampling_rate=model.config.sample_rate, batch_size=batch_size, show_progress=False)
    return F.normalize(out.segment_features.float(), dim=-1).cpu()


def similarity(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean cosine of the segments in order: (N, S, D) and (M, S, D) to (N, M)."""
    return first.flatten(1) @ second.flatten(1).T / first.shape[1]


def found(scores: torch.Tensor, k: int) -> torch.Tensor:
    """How often (0, 0.5 or 1) each pair's clips are among each other's k nearest, (N,) from scores (N, N).

    A tie is a miss, and so is what is no number: a model that has collapsed finds nothing.
    """
    farther = [(each < each.diagonal()[:, None]).sum(1) for each in (scores, scores.T)]
    return sum((count >= len(scores) - k).float() for count in farther) / 2


def load_source(name: str, script: str) -> tuple[list[dict], np.ndarray]:
    """Rows and samples, as that script has written them."""
    rows, samples = DATA / "phrases" / f"{name}.json", DATA / "phrases" / f"{name}.npy"
    if not rows.exists():
        raise SystemExit(f"{rows} is missing; run python examples/{script}.py first.")
    return json.loads(rows.read_text()), np.load(samples, mmap_mode="r")


def make_config(**choices) -> AudioBranchConfig:
    """8 kHz, so that telephone and studio recordings have the same band; small enough for two cores."""
    front_end = {"sample_rate": RATE, "n_fft": 512, "win_length": 200, "hop_length": 48, "n_mels": 64}
    encoder = {"num_layers": 4, "d_model": 192, "num_heads": 4, "conv_kernel_size": 9, "conv_norm": "layer"}
    subsampling = {"subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_channels": 96}
    masks = {"apply_spec_augment": True, "num_freq_masks": 2, "freq_mask_width": 8, "num_time_masks": 2}
    return AudioBranchConfig(**(front_end | encoder | subsampling | masks | {"dropout": 0.0} | choices))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/phrases"))
    parser.add_argument("--minutes", type=float, default=180, help="stop, to go on with the next call")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120, help="of speech in a batch, on either side of the pairs")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to begin from")
    parser.add_argument("--num-segments", type=int, default=8)
    parser.add_argument("--pooling", default="attention")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    sources = [load_source("train", "phrases_data"), load_source("words", "phrase_words")]
    set_seed(arguments.seed)
    config = make_config(num_segments=arguments.num_segments, pooling_type=arguments.pooling)
    if arguments.start:  # what another pooling needs and the checkpoint has not begins at random; transformers says so
        model = AudioBranchModel.from_pretrained(arguments.start, config=config, ignore_mismatched_sizes=True)
    else:
        model = AudioBranchModel(config)
    trainer = PhraseTrainer(
        model,
        TrainingArguments(
            str(arguments.output / "training"),
            max_steps=arguments.steps,
            learning_rate=arguments.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=min(100, arguments.steps // 10),
            weight_decay=0.01,
            logging_steps=20,
            save_steps=100,
            save_total_limit=1,
            remove_unused_columns=False,
            seed=arguments.seed,
            report_to="none",
            use_cpu=not torch.cuda.is_available(),
        ),
        data_collator=collate,
        train_dataset=Phrases(*sources),
        processing_class=AudioBranchFeatureExtractor.from_model(model),
        seconds=arguments.seconds,
        callbacks=[DevRetrievalCallback(arguments.minutes, every=100)],
    )
    done = sorted((arguments.output / "training").glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=bool(done))
    trainer.save_model(str(arguments.output))


if __name__ == "__main__":
    main()
