"""Trains the default checkpoint: segment embeddings that find the same phrase said by another speaker.

    python examples/phrases_data.py
    python examples/pretrain_phrases.py --minutes 45      # again until it is done: each call goes on where it ended
    python examples/evaluate_phrases.py outputs/phrases   # on speakers, and a language, that were never seen

Two clips of the same text, a recording and an espeak-ng rendering or two renderings, are augmented and embedded; each
has to find the other among all clips of the batch by its 8 segment features, compared in order (InfoNCE, van den Oord
et al. 2018, both directions). Bulgarian is held out as the development set: settings were chosen on it alone.
"""

import argparse
import io
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
from modeling_audio_branch import AudioBranchConfig, AudioBranchFeatureExtractor, AudioBranchModel
from modeling_audio_branch.audio_input import pad_batch

RATE = 8000  # Hz
DATA = Path(__file__).parents[1] / "data" / "phrases"
DEVELOPMENT = "bg"
TEMPERATURE = 0.05


class Phrases(torch.utils.data.Dataset):
    """Items are texts: two of the text's clips, chosen and augmented anew each time."""

    def __init__(self, rows, samples):
        self.samples, texts = samples, {}
        for row in rows:
            texts.setdefault(row["text"], []).append(row)
        self.texts = [clips for clips in texts.values() if len(clips) > 1]

    def __len__(self):
        return len(self.texts)

    def clip(self, row):
        return self.samples[row["start"] : row["start"] + row["length"]].astype(np.float32) / 2**15

    def __getitem__(self, index):
        generator = np.random.default_rng(torch.randint(2**31, ()).item())
        rows = self.texts[index]
        humans = [row for row in rows if not row["voice"].startswith("espeak")]
        others = [row for row in rows if row["voice"].startswith("espeak")]
        first = humans if not others or (humans and generator.random() < 0.75) else others
        pair = [first[generator.integers(len(first))]]
        rest = [row for row in rows if row is not pair[0]]
        pair.append(rest[generator.integers(len(rest))])
        return {"clips": [augment(self.clip(row), generator) for row in pair]}


def augment(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Another speed (and with it pitch and vocal tract), edges, noise, band and telephone codec; (L,) at 8 kHz."""
    if generator.random() < 0.8:
        speed = generator.uniform(0.8, 1.25)
        places = np.arange(0, len(samples) - 1, speed)
        samples = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
    samples = samples * generator.uniform(0.1, 1.0)
    before, after = (generator.uniform(0, 0.12, 2) * RATE * (generator.random(2) < 0.5)).astype(int)
    samples = np.pad(samples, (before, after))
    if generator.random() < 0.4:  # low or high frequencies are lost
        spectrum = np.fft.rfft(samples)
        frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
        low, high = generator.uniform(0, 350), generator.uniform(2300, 4000)
        spectrum *= (frequencies >= low) & (frequencies <= high)
        samples = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    if generator.random() < 0.6:
        noise = generator.standard_normal(len(samples)).astype(np.float32)
        if generator.random() < 0.5:
            noise = np.cumsum(noise) - np.convolve(np.cumsum(noise), np.ones(64) / 64, "same")  # more low frequencies
        decibels = generator.uniform(5, 35)
        noise *= np.sqrt(np.square(samples).mean() / (np.square(noise).mean() + 1e-9)) * 10 ** (-decibels / 20)
        samples = samples + noise.astype(np.float32)
    if generator.random() < 0.3:
        file = io.BytesIO()
        soundfile.write(file, samples / max(1.0, np.abs(samples).max()), RATE, format="WAV", subtype="GSM610")
        file.seek(0)
        samples = soundfile.read(file, dtype="float32")[0][: len(samples)]
    return samples.astype(np.float32)


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


class LikeBatches(torch.utils.data.Sampler):
    """Batches of one language and of like lengths: neither may tell the right partner from the wrong ones."""

    def __init__(self, dataset: Phrases, batch_size: int):
        self.texts, self.batch_size = dataset.texts, batch_size
        self.languages = sorted({clips[0]["language"] for clips in self.texts})

    def __iter__(self):
        batches = []
        for language in self.languages:
            places = [place for place, clips in enumerate(self.texts) if clips[0]["language"] == language]
            lengths = torch.tensor([self.texts[place][0]["length"] for place in places]).log()
            order = (lengths + 0.1 * torch.randn(len(places))).argsort().tolist()
            blocks = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
            batches += [[places[i] for i in block] for block in blocks if len(block) == self.batch_size]
        return iter([batches[i] for i in torch.randperm(len(batches)).tolist()])

    def __len__(self):
        counts = [sum(clips[0]["language"] == language for clips in self.texts) for language in self.languages]
        return sum(count // self.batch_size for count in counts)


class PhraseTrainer(Trainer):
    def get_train_dataloader(self):
        batches = LikeBatches(self.train_dataset, self.args.train_batch_size)
        loader = torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator, num_workers=1
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        out = model(**inputs)
        loss = info_nce(out.segment_features)
        return (loss, out) if return_outputs else loss


class Development(TrainerCallback):
    """Measures the held-out language now and then, and stops after so many minutes."""

    def __init__(self, rows, dataset, minutes, every):
        self.stop, self.every = time.time() + 60 * minutes, every
        texts = {}
        for row in rows:
            texts.setdefault(row["text"], []).append(row)
        pairs = [clips for clips in texts.values() if len(clips) > 1 and not clips[0]["voice"].startswith("espeak")]
        self.sides = [[dataset.clip(clips[side]) for clips in pairs[:400]] for side in (0, 1)]

    def on_step_end(self, arguments, state, control, model=None, **_):
        if state.global_step % self.every == 0:
            was_training = model.training
            score = recall(*(embed(model.eval(), side) for side in self.sides))
            model.train(was_training)
            state.log_history.append({"step": state.global_step, "development_recall": score})
            print(json.dumps(state.log_history[-1]), flush=True)
        if time.time() > self.stop:
            control.should_save = control.should_training_stop = True
        return control


def embed(model, clips: list[np.ndarray], batch_size: int = 64) -> torch.Tensor:
    """Unit segment features (N, S, D) of clips at the model's rate."""
    out = model.encode(clips, sampling_rate=model.config.sample_rate, batch_size=batch_size, show_progress=False)
    return F.normalize(out.segment_features.float(), dim=-1).cpu()


def similarity(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean cosine of the segments in order: (N, S, D) and (M, S, D) to (N, M)."""
    return first.flatten(1) @ second.flatten(1).T / first.shape[1]


def recall(first: torch.Tensor, second: torch.Tensor) -> dict[str, float]:
    """Percent of clips whose partner is the nearest, and among the nearest five; over both directions."""
    scores = similarity(first, second)
    ranks = torch.cat([(each > each.diagonal()[:, None]).sum(1) for each in (scores, scores.T)])
    return {f"R@{k}": round(100 * (ranks < k).float().mean().item(), 1) for k in (1, 5)}


def make_config(**choices) -> AudioBranchConfig:
    """8 kHz, so that telephone and studio recordings have the same band; small enough for two cores."""
    front_end = {"sample_rate": RATE, "n_fft": 512, "win_length": 200, "hop_length": 60, "n_mels": 64}
    encoder = {"num_layers": 4, "d_model": 192, "num_heads": 4, "conv_kernel_size": 9, "conv_norm": "layer"}
    subsampling = {"subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_channels": 96}
    masks = {"apply_spec_augment": True, "num_freq_masks": 2, "freq_mask_width": 8, "num_time_masks": 2}
    return AudioBranchConfig(**(front_end | encoder | subsampling | masks | {"dropout": 0.0} | choices))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/phrases"))
    parser.add_argument("--minutes", type=float, default=180, help="stop, to go on with the next call")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=64, help="pairs")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--num-segments", type=int, default=8)
    parser.add_argument("--pooling", default="attention")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not (DATA / "index.json").exists():
        raise SystemExit(f"{DATA / 'index.json'} is missing; run python examples/phrases_data.py first.")
    set_seed(arguments.seed)
    rows = json.loads((DATA / "index.json").read_text())
    samples = np.load(DATA / "train.npy", mmap_mode="r")
    training = Phrases([row for row in rows if row["language"] != DEVELOPMENT], samples)
    held_out = [row for row in rows if row["language"] == DEVELOPMENT]
    model = AudioBranchModel(make_config(num_segments=arguments.num_segments, pooling_type=arguments.pooling))
    trainer = PhraseTrainer(
        model,
        TrainingArguments(
            str(arguments.output / "training"),
            max_steps=arguments.steps,
            per_device_train_batch_size=arguments.batch,
            learning_rate=arguments.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=100,
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
        train_dataset=training,
        processing_class=AudioBranchFeatureExtractor.from_model(model),
        callbacks=[Development(held_out, training, arguments.minutes, every=100)],
    )
    done = sorted((arguments.output / "training").glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=bool(done))
    trainer.save_model(str(arguments.output))


if __name__ == "__main__":
    main()
