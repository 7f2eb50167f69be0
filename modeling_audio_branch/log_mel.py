"""Log-mel spectrogram, computed as NVIDIA NeMo computes it: one module for the feature extractor and the model.

B batch, L samples, T log-mel frames, M mel bins.
"""

import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.audio_utils import mel_filter_bank

from .configuration_audio_branch import LogMelSettings
from .masks import is_tracing, length_mask

SPECTROGRAM_CHUNK_FRAMES = 1024  # frames of all clips together whose spectra fit in a CPU's cache
GPU_CHUNK_FRAMES = 2**16  # whose spectra take 400 MB
MIN_CHUNK_FRAMES = 64  # frames of each clip in a chunk, where all clips are of one length
MIN_ROWS = 16  # spectra that are multiplied with the filters at once, so that all are rounded alike
STD_GUARD = 1e-5  # added to the standard deviation
NYQUIST = 0.5  # highest mel frequency, as a part of the sampling rate


class LogMel(nn.Module):
    """Raw audio to normalised log-mel frames, batched, differentiable and on any device, always in float32.

    Follows NeMo's `FilterbankFeatures.forward` (since PR 13827): pre-emphasis, centred STFT over zeros, power, Slaney
    mel, logarithm, then (by default) zero mean and unit variance per clip and mel bin over its valid frames. A clip of
    L samples has 1 + L // hop_length frames, of which L // hop_length are valid.

    The window and the filters are buffers that are saved with the model and stay float32 when it is cast.

    Args:
        sampling_rate: Of the audio, in Hz.
        n_mels: Mel bins M.
        settings: See [`LogMelSettings`].
    """

    def __init__(self, sampling_rate: int, n_mels: int, settings: LogMelSettings):
        super().__init__()
        self.sampling_rate = sampling_rate
        self.n_mels = n_mels
        self.settings = settings
        for name, value in self.constants().items():
            self.register_buffer(name, value)

    def constants(self) -> dict[str, torch.Tensor]:
        """The values of the buffers: a symmetric Hann window (win_length,) and the mel filters (n_fft // 2 + 1, M)."""
        mel_filters = mel_filter_bank(
            num_frequency_bins=self.settings.n_fft // 2 + 1,
            num_mel_filters=self.n_mels,
            min_frequency=0.0,
            max_frequency=self.sampling_rate * NYQUIST,
            sampling_rate=self.sampling_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        return {
            "window": torch.hann_window(self.settings.win_length, periodic=False, dtype=torch.float32),
            "mel_filters": torch.tensor(mel_filters, dtype=torch.float32),  # on the meta device too, unlike from_numpy
        }

    def init_parameters(self):
        for name, value in self.constants().items():
            init.copy_(getattr(self, name), value)

    def load_constant(self, name: str, value: torch.Tensor) -> None:
        """Loads another window or other filters, unless they equal those of `constants` up to rounding."""
        buffer = getattr(self, name)
        if value.shape != buffer.shape:
            raise ValueError(f"{name} has the shape {tuple(value.shape)}, but the settings need {tuple(buffer.shape)}.")
        if not torch.allclose(value, buffer.cpu(), rtol=1e-6, atol=1e-8):
            buffer.copy_(value)

    def _apply(self, fn, recurse=True):
        # .half() and .to(bfloat16) move the constants to another device, but never round them.
        exact = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, moved in self._buffers.items():
            if moved.dtype != torch.float32:
                self._buffers[name] = torch.empty_like(moved, dtype=torch.float32)
                if not exact[name].is_meta:
                    self._buffers[name].copy_(exact[name])
        return self

    def forward(
        self, waveform: torch.Tensor, attention_mask: torch.Tensor | None = None, lengths: list[int] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            waveform: (B, L) samples in [-1, 1] at `sampling_rate`.
            attention_mask: (B, L), true for samples and false for the padding after them; None without padding.
            lengths: The samples of each clip, where they are known; else they are read from the mask.

        Returns:
            The log-mel frames (B, T, M), zero where invalid, and their mask (B, T), T = 1 + L // hop_length.
        """
        waveform = waveform.float()
        num_samples = waveform.shape[1]
        num_frames = 1 + num_samples // self.settings.hop_length
        if attention_mask is not None and not is_tracing():
            lengths = attention_mask.sum(-1).tolist() if lengths is None else lengths
            if min(lengths, default=num_samples) == num_samples:
                attention_mask = None
        if attention_mask is None:
            frame_mask = torch.ones(len(waveform), num_frames, dtype=torch.bool, device=waveform.device)
            frame_mask[:, -1] = False
        else:
            attention_mask = attention_mask.bool()
            counts = attention_mask.sum(-1) // self.settings.hop_length  # (B,) valid frames
            frame_mask = length_mask(counts, num_frames)  # (B, T)

        with torch.autocast(waveform.device.type, enabled=False):
            frames = self._frames(waveform, attention_mask, num_frames)  # (B, T, n_fft)
            if is_tracing():  # loops and lengths would fix the shapes
                log_mel = self._normalise(self._log_mel(frames), frame_mask.unsqueeze(-1))
            elif attention_mask is None:  # all but the last frame are valid
                size = max(MIN_CHUNK_FRAMES, self._chunk_frames() // max(1, len(frames)))
                chunks = [self._log_mel(chunk) for chunk in frames[:, :-1].split(size, dim=1)]
                log_mel = F.pad(self._normalise(torch.cat(chunks, 1)), (0, 0, 0, 1))
            else:
                log_mel = self._log_mel_of_valid(frames, counts, [each // self.settings.hop_length for each in lengths])
                log_mel = self._normalise(log_mel, frame_mask.unsqueeze(-1))
        return log_mel, frame_mask

    def _log_mel_of_valid(self, frames, counts, lengths):
        """Frames (B, T, n_fft) to log-mel (B, T, M), computed for the first `counts` (B,) of each clip alone."""
        clip = torch.arange(len(frames), device=frames.device).repeat_interleave(counts, output_size=sum(lengths))
        frame = torch.arange(len(clip), device=frames.device) - (counts.cumsum(0) - counts)[clip]
        size = self._chunk_frames()
        chunks = zip(clip.split(size), frame.split(size), strict=True)
        valid = torch.cat([self._log_mel(frames[chunk]) for chunk in chunks])  # (all frames, M)
        log_mel = valid.new_zeros(frames.shape[0] * frames.shape[1], self.n_mels)
        return log_mel.index_copy(0, clip * frames.shape[1] + frame, valid).unflatten(0, frames.shape[:2])

    def _chunk_frames(self):
        return SPECTROGRAM_CHUNK_FRAMES if self.window.device.type == "cpu" else GPU_CHUNK_FRAMES

    def stream(self, blocks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The valid frames of `forward` of one clip, without ever holding all of it.

        Args:
            blocks: The clip's samples in blocks (L,) of any lengths. They are read twice where frames are normalised
                over the clip, so that an iterator is not enough.

        Yields:
            Log-mel frames (T, M).
        """
        if self.settings.normalize not in ("per_feature", "all_features"):
            for frames in self._unnormalised(blocks):
                yield self._normalise(frames.unsqueeze(0))[0]
            return
        first, mean, deviation = self._statistics(self._unnormalised(blocks))
        for frames in self._unnormalised(blocks):
            yield (frames - first - mean) / (deviation + STD_GUARD)

    def _statistics(self, pieces):
        """What `_normalise` computes of all frames, from pieces (T, M): a constant, the mean and the deviation."""
        over_bins = self.settings.normalize == "all_features"
        first = count = total = squares = None
        for frames in pieces:
            if first is None:
                first = frames[0, 0] if over_bins else frames[0]
                count, total, squares = 0, torch.zeros_like(first).double(), torch.zeros_like(first).double()
            values = (frames - first).double()
            values = values.flatten() if over_bins else values  # (T M,) or (T, M)
            count, total, squares = count + len(values), total + values.sum(0), squares + (values * values).sum(0)
        if first is None:
            return 0.0, 0.0, 0.0
        mean = total / count
        variance = (squares - total * mean).clamp(min=0) / max(1, count - 1)
        return first, mean.float(), variance.sqrt().float()

    def _unnormalised(self, blocks):
        """Log-mel frames (T, M) before normalisation of one clip in blocks of samples (L,)."""
        num_samples, num_frames, before = 0, 0, None
        rest = self.window.new_zeros(self.settings.n_fft // 2)  # the samples from the next frame's start on
        for block in itertools.chain(blocks, [None]):
            if block is None:  # the end, with zeros behind it
                block = torch.zeros_like(rest[: self.settings.n_fft // 2])
            elif len(block):
                num_samples += len(block)
                block = block.to(self.window)
                samples = block if before is None else torch.cat([before, block])
                emphasised = samples[1:] - self.settings.preemphasis * samples[:-1]
                before, block = block[-1:], emphasised if before is not None else torch.cat([block[:1], emphasised])
            rest = torch.cat([rest, block])
            size, hop = self.settings.n_fft, self.settings.hop_length
            count = max(0, (len(rest) - size) // hop + 1)
            frames = rest.unfold(0, size, hop) if count else rest.new_zeros(0, size)
            for chunk in frames[: num_samples // hop - num_frames].split(SPECTROGRAM_CHUNK_FRAMES):
                if len(chunk):
                    yield self._log_mel(chunk)
            num_frames += count
            rest = rest[count * hop :]

    def _frames(self, waveform, attention_mask, num_frames):
        """Overlapping frames (B, T, n_fft) of the pre-emphasised samples: a view, not a copy."""
        padded = self._emphasised(waveform, attention_mask, num_frames)
        return padded.unfold(-1, self.settings.n_fft, self.settings.hop_length)

    def _emphasised(self, waveform, attention_mask, num_frames):
        """Samples (B, L) after pre-emphasis, with the zeros at both ends that the frames reach into."""
        if attention_mask is not None:  # not a product: padded samples may be NaN
            waveform = waveform.where(attention_mask, 0.0)
        if self.settings.preemphasis:
            waveform = torch.cat(
                [waveform[:, :1], waveform[:, 1:] - self.settings.preemphasis * waveform[:, :-1]], dim=1
            )
        if attention_mask is not None:  # pre-emphasis has changed the first padded sample
            waveform = waveform.where(attention_mask, 0.0)
        # Frame t is centred on sample t * hop_length, with zeros at both ends. The FFT takes n_fft samples, as NeMo's
        # does: the win_length samples under the window would be enough, but round differently, by 1e-4 in quiet bins.
        before = self.settings.n_fft // 2
        after = (num_frames - 1) * self.settings.hop_length + before - waveform.shape[1]
        return F.pad(waveform, (before, after))

    def _log_mel(self, frames):
        """Frames (..., n_fft) to their log-mel (..., M)."""
        if not frames.numel():  # the FFT fails on no frames
            return frames[..., :1].expand(*frames.shape[:-1], self.n_mels)
        power = self._power(frames)
        if self.settings.mag_power != 2:
            # The slope of a root is infinite at 0: keep 0 out of it. The power must stay exactly 0,
            # since with a tiny zero guard the logarithm would show a tiny root.
            power = (power.where(power > 0, 1.0) ** (self.settings.mag_power / 2)).where(power > 0, 0.0)
        mel = self._filtered(power)
        return (
            mel + self.settings.log_zero_guard_value
            if self.settings.log_zero_guard_type == "add"
            else mel.clamp(min=self.settings.log_zero_guard_value)
        ).log()

    def _padded_window(self):
        """The window (n_fft,), with zeros on both sides."""
        left = (self.settings.n_fft - self.settings.win_length) // 2
        return F.pad(self.window, (left, self.settings.n_fft - self.settings.win_length - left))

    def _power(self, frames):
        """Frames (..., n_fft) to their power spectra (..., n_fft // 2 + 1)."""
        spectrum = torch.view_as_real(torch.fft.rfft(frames * self._padded_window()))  # (..., n_fft // 2 + 1, 2)
        squares = spectrum * spectrum
        return squares[..., 0] + squares[..., 1]

    def _filtered(self, power):
        """Spectra (..., n_fft // 2 + 1) to mel bins (..., M)."""
        rows = power.flatten(0, -2)
        if is_tracing() or len(rows) >= MIN_ROWS:
            return power @ self.mel_filters
        # A product of a few rows rounds differently from one of many, so that a clip of a few frames alone would differ
        # from the same clip in a batch; dividing by a small standard deviation magnifies that.
        mel = F.pad(rows, (0, 0, 0, MIN_ROWS - len(rows))) @ self.mel_filters
        return mel[: len(rows)].unflatten(0, power.shape[:-1])

    def _normalise(self, log_mel, mask=None):
        """Log-mel (B, T, M) to zero mean and unit variance over the frames of the mask (B, T, 1) or over all."""

        def masked(states):
            return states if mask is None else states.where(mask, 0.0)

        if self.settings.normalize == "none":
            return masked(log_mel)
        if self.settings.normalize == "fixed":
            mean, deviation = (
                log_mel.new_tensor(values)
                for values in (self.settings.normalize_mean, self.settings.normalize_deviation)
            )
            return masked((log_mel - mean) / deviation)
        axes, per_frame = ((1,), 1) if self.settings.normalize == "per_feature" else ((1, 2), self.n_mels)
        if mask is None:
            count = per_frame * log_mel.shape[1]
            divisor, freedom = max(count, 1), max(count - 1, 1)
        else:
            count = per_frame * mask.sum(1, keepdim=True)  # (B, 1, 1)
            divisor, freedom = count.clamp(min=1), (count - 1).clamp(min=1)
        # Subtracting a constant first changes neither the result nor the deviation. With the first frame as the
        # constant, a bin that never changes (silence, band-limited audio) becomes exactly 0, not magnified rounding.
        first = log_mel[:, :1] if self.settings.normalize == "per_feature" else log_mel[:, :1, :1]
        log_mel = masked(log_mel - first.detach())
        mean = log_mel.sum(axes, keepdim=True) / divisor  # (B, 1, M or 1)
        log_mel = masked(log_mel - mean)
        variance = (log_mel * log_mel).sum(axes, keepdim=True) / freedom
        # The slope of the root is infinite at 0: keep 0 out of it.
        deviation = variance.where(variance > 0, 1.0).sqrt().where(variance > 0, 0.0)
        return log_mel / (deviation + STD_GUARD)
