// An exported model, run by onnxruntime-web in WebAssembly, and the cosine similarity of what it gives.

import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // more need headers that static hosts don't send
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name} can't be loaded (${answer.status}); build the page again.`);
  return answer;
}

/** The model of this folder: `embed(samples)` and `about`, what preprocess.json says. */
export async function loadModel() {
  const about = await (await fetched("preprocess.json")).json();
  const bytes = new Uint8Array(await (await fetched(about.file)).arrayBuffer());
  const session = await ort.InferenceSession.create(bytes);
  return { about, embed: (samples) => embed(session, about, samples) };
}

/** Mono samples to `features` (one Float32Array for each segment) and `times` (start and end of each, in seconds). */
async function embed(session, about, samples) {
  const shape = [1, samples.length];
  const outputs = await session.run({
    [about.input]: new ort.Tensor("float32", samples, shape),
    attention_mask: new ort.Tensor("int64", new BigInt64Array(samples.length).fill(1n), shape),
  });
  const rows = (data, width) =>
    Array.from({ length: data.length / width }, (_, row) => data.slice(row * width, (row + 1) * width));
  return {
    features: rows(outputs.segment_features.data, about.feature_dim),
    times: rows(outputs.segment_times.data, 2),
  };
}

/** The cosine similarity of every vector with every other: one row for each of `first`. */
export function cosines(first, second) {
  const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);
  const lengths = [first, second].map((vectors) => vectors.map((vector) => Math.sqrt(dot(vector, vector))));
  return first.map((one, i) => second.map((other, j) => dot(one, other) / (lengths[0][i] * lengths[1][j])));
}

/** The mean of the diagonal: of the segments in order. */
export function similarity(matrix) {
  return matrix.reduce((sum, row, index) => sum + row[index], 0) / matrix.length;
}
