// Files and recordings to mono samples at the rate of the model, as the Python package makes them.

const WIDTH = 6; // zero crossings of the resampling filter, as in torchaudio
const ROLLOFF = 0.99;
const MAX_TERMS = 1000; // of the ratio of two rates: a filter for each would take too much memory

/** The mono samples (Float32Array) of a file at `rate` Hz. Throws an Error of one sentence. */
export async function decode(blob, rate, name) {
  const bytes = await blob.arrayBuffer();
  const wav = readWav(bytes);
  if (wav) return resample(wav.samples, wav.rate, rate);
  let audio;
  try {
    // Browsers resample what they decode to the rate of the context.
    audio = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  } catch {
    throw new Error(`${name} can't be read as audio by this browser; choose a WAV, MP3, FLAC or Ogg file.`);
  }
  return mean(Array.from({ length: audio.numberOfChannels }, (_, index) => audio.getChannelData(index)));
}

/** Samples and rate of a WAV file of 8, 16, 24 or 32 bits, which need no decoder; null of all other files. */
export function readWav(bytes) {
  const view = new DataView(bytes);
  const tag = (at) => (at + 4 <= view.byteLength ? String.fromCharCode(...new Uint8Array(bytes, at, 4)) : "");
  if (tag(0) !== "RIFF" || tag(8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const size = view.getUint32(at + 4, true);
    if (tag(at) === "fmt " && size >= 16 && at + 24 <= view.byteLength) {
      const extensible = view.getUint16(at + 8, true) === 0xfffe && size >= 26 && at + 34 <= view.byteLength;
      format = {
        kind: view.getUint16(extensible ? at + 32 : at + 8, true), // 1: integers, 3: floating point
        channels: view.getUint16(at + 10, true),
        rate: view.getUint32(at + 12, true),
        bits: view.getUint16(at + 22, true),
      };
    } else if (tag(at) === "data" && format) {
      const read = sampleReader(view, format);
      if (!read || !format.channels || !format.rate) return null;
      const width = format.bits / 8;
      const length = Math.floor(Math.min(size, view.byteLength - at - 8) / width / format.channels);
      const channels = Array.from({ length: format.channels }, (_, channel) =>
        Float32Array.from({ length }, (_, index) => read(at + 8 + (index * format.channels + channel) * width)),
      );
      return { samples: mean(channels), rate: format.rate };
    }
    at += 8 + size + (size % 2);
  }
  return null;
}

function sampleReader(view, { kind, bits }) {
  if (kind === 3 && bits === 32) return (at) => view.getFloat32(at, true);
  if (kind !== 1) return null;
  if (bits === 8) return (at) => (view.getUint8(at) - 128) / 128;
  if (bits === 16) return (at) => view.getInt16(at, true) / 2 ** 15;
  if (bits === 24) return (at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 2 ** 16) / 2 ** 23;
  return bits === 32 ? (at) => view.getInt32(at, true) / 2 ** 31 : null;
}

/** The mean of channels of one length. */
export function mean(channels) {
  if (channels.length === 1) return channels[0];
  const sum = (index) => channels.reduce((total, channel) => total + channel[index], 0);
  return Float32Array.from(channels[0], (_, index) => sum(index) / channels.length);
}

/** Samples at another rate, by the filter of torchaudio: a sinc in a Hann window. */
export function resample(samples, rate, target) {
  if (rate === target || !samples.length) return samples;
  const [from, to] = fraction(rate / target);
  const base = Math.min(from, to) * ROLLOFF;
  const reach = Math.ceil((WIDTH * from) / base); // samples on either side
  const taps = 2 * reach + 1;
  const filters = new Float64Array(to * taps);
  for (let phase = 0; phase < to; phase++) {
    const middle = (phase * from) / to; // of the filter, in samples
    for (let tap = 0; tap < taps; tap++) {
      const time = ((Math.floor(middle) - reach + tap - middle) / from) * base;
      if (Math.abs(time) >= WIDTH) continue;
      const sinc = time === 0 ? 1 : Math.sin(Math.PI * time) / (Math.PI * time);
      filters[phase * taps + tap] = (sinc * Math.cos((Math.PI * time) / WIDTH / 2) ** 2 * base) / from;
    }
  }
  const made = new Float32Array(Math.ceil((samples.length * to) / from));
  for (let index = 0; index < made.length; index++) {
    const first = Math.floor((index * from) / to) - reach;
    const filter = (index % to) * taps;
    let sum = 0;
    for (let tap = Math.max(0, -first); tap < taps && first + tap < samples.length; tap++) {
      sum += filters[filter + tap] * samples[first + tap];
    }
    made[index] = sum;
  }
  return made;
}

/** The nearest fraction with a denominator of at most 1000. */
export function fraction(value) {
  let [top, down, error] = [0, 0, Infinity];
  for (let each = 1; each <= MAX_TERMS; each++) {
    const distance = Math.abs(Math.round(value * each) / each - value);
    if (distance < error - 1e-12) [top, down, error] = [Math.round(value * each), each, distance];
  }
  return [top, down];
}

/** Records the microphone until `stop()` is called; `recording` is then a Blob. Throws an Error of one sentence. */
export async function record() {
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
    throw new Error("This browser can't record here; open the page by https, or choose a file.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    throw new Error(`The microphone can't be used (${error.name}); allow it in the browser, or choose a file.`);
  }
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const recording = new Promise((resolve) => {
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      resolve(new Blob(parts, { type: recorder.mimeType }));
    });
  });
  recorder.start();
  return { recording, stop: () => recorder.state === "recording" && recorder.stop() };
}
