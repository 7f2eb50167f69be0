"""An exported model in JavaScript: by Node's onnxruntime, and by the WebAssembly that browsers run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from helpers.models import make_model, random_clips, tiny_config
from helpers.node import run_node
from modeling_audio_branch import AudioBranchModel
from modeling_audio_branch.audio_input import load_audio
from modeling_audio_branch.export import export_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "audio" / "go_somewhere.flac"
EMBED = """
const ort = require({library!r});
const fs = require("fs");
(async () => {{
  if (ort.env.wasm) ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(fs.readFileSync("model.onnx"));
  const bytes = fs.readFileSync("clips.bin");
  const samples = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const mask = BigInt64Array.from(JSON.parse(fs.readFileSync("mask.json")).map(BigInt));
  const outputs = await session.run({{
    input_values: new ort.Tensor("float32", samples, {shape}),
    attention_mask: new ort.Tensor("int64", mask, {shape}),
  }});
  const rows = {{}};
  for (const name of session.outputNames) rows[name] = Array.from(outputs[name].data, Number);
  console.log(JSON.stringify(rows));
}})();
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = make_model(AudioBranchModel, tiny_config(subsampling_factor=4))
    folder = tmp_path_factory.mktemp("exported") / "out"
    export_model(model, folder)
    return model, folder


def test_the_readme_runs_in_node_as_it_is_printed(exported):
    _, folder = exported
    code = re.search(r"```javascript\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    assert run_node(code, folder).split() == ["[", "1,", "4,", "12", "]"]


def test_the_readme_of_a_model_with_spans_runs_in_node(exported, tmp_path):
    export_model(exported[0], tmp_path / "out", spans=True)
    code = re.search(r"```javascript\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)[1]
    assert run_node(code, tmp_path / "out").split() == ["[", "1,", "1,", "4,", "12", "]"]


@pytest.mark.parametrize("library", ["onnxruntime-node", "onnxruntime-web"])
def test_a_recording_and_noise_in_one_batch_give_the_numbers_of_python(exported, library):
    model, folder = exported
    clips = [load_audio(EXAMPLE, 16000).numpy(), random_clips([9000])[0].numpy()]
    inputs, mask = np.full((2, max(map(len, clips))), 3.0, np.float32), np.zeros((2, max(map(len, clips))), int)
    for row, clip in enumerate(clips):
        inputs[row, : len(clip)], mask[row, : len(clip)] = clip, 1
    (folder / "clips.bin").write_bytes(inputs.tobytes())
    (folder / "mask.json").write_text(json.dumps(mask.ravel().tolist()))
    got = json.loads(run_node(EMBED.format(library=library, shape=list(inputs.shape)), folder))
    expected = model.encode(clips, sampling_rate=16000)
    for name in ("segment_features", "segment_times", "segment_mask", "pooler_output"):
        np.testing.assert_allclose(np.reshape(got[name], expected[name].shape), expected[name], atol=1e-4)
