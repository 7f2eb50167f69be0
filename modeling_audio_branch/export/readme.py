"""The README.md of an exported folder: how the model is called in a few lines. Tests run what it prints."""

from pathlib import Path

PYTHON_ONNX = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
clip = np.zeros((1, {rate}), np.float32)  # a second: (clips, samples), mono, {rate} Hz
outputs = session.run(None, {{"{input}": clip, "attention_mask": np.ones(clip.shape, np.int64){spans_numpy}}})
print(dict(zip({outputs}, [each.shape for each in outputs])))
"""
JAVASCRIPT_ONNX = """\
const ort = require("onnxruntime-node");  // in a browser: onnxruntime-web
(async () => {{
  const session = await ort.InferenceSession.create("{file}");
  const clip = new ort.Tensor("float32", new Float32Array({rate}), [1, {rate}]);
  const mask = new ort.Tensor("int64", new BigInt64Array({rate}).fill(1n), [1, {rate}]);
  const outputs = await session.run({{ {input}: clip, attention_mask: mask{spans_javascript} }});
  console.log(outputs.segment_features.dims);
}})();
"""
CPP_ONNX = """\
#include <iostream>
#include <onnxruntime_cxx_api.h>

int main() {{  // c++ -std=c++17 main.cpp -lonnxruntime
  Ort::Env env;
  Ort::Session session(env, "{file}", Ort::SessionOptions());
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<float> clip({rate}){spans_cpp_data};  // a second: (clips, samples), mono, {rate} Hz
  std::vector<int64_t> mask({rate}, 1), shape{{1, {rate}}}{spans_cpp_shape};
  Ort::Value inputs[] = {{
      Ort::Value::CreateTensor<float>(memory, clip.data(), clip.size(), shape.data(), 2),
      Ort::Value::CreateTensor<int64_t>(memory, mask.data(), mask.size(), shape.data(), 2){spans_cpp}}};
  const char *names[] = {{"{input}", "attention_mask"{spans_cpp_name}}}, *wanted[] = {{"segment_features"}};
  auto outputs = session.Run(Ort::RunOptions(), names, inputs, std::size(inputs), wanted, 1);
  for (int64_t size : outputs[0].GetTensorTypeAndShapeInfo().GetShape()) std::cout << size << " ";
}}
"""
PYTHON_OPENVINO = """\
import numpy as np
import openvino

model = openvino.Core().compile_model("{file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})  # else bfloat16
clip = np.zeros((1, {rate}), np.float32)  # a second: (clips, samples), mono, {rate} Hz
outputs = model([clip, np.ones(clip.shape, np.int64){spans_list}])
print(dict(zip({outputs}, [each.shape for each in outputs.values()])))
"""
PYTHON_TORCH = """\
import torch

model = {load}
clip = torch.zeros(2, {rate})  # a second: (clips, samples), mono, {rate} Hz
outputs = model(clip, torch.ones(clip.shape, dtype=torch.int64){spans_torch})
print(dict(zip({outputs}, [tuple(each.shape) for each in outputs])))
"""
SPANS = {  # what is added to the calls of models that take spans: the first half second of the clip, or of both
    "spans_numpy": ', "spans": np.float32([[[0, 0.5]]])',
    "spans_list": ", np.float32([[[0, 0.5]]])",
    "spans_torch": ", torch.tensor([[[0, 0.5]]] * 2)",
    "spans_cpp_data": ", spans{0, 0.5}",
    "spans_cpp_shape": ", three{1, 1, 2}",
    "spans_cpp": ",\n" + 6 * " " + "Ort::Value::CreateTensor<float>(memory, spans.data(), 2, three.data(), 3)",
    "spans_cpp_name": ', "spans"',
    "spans_javascript": ', spans: new ort.Tensor("float32", [0, 0.5], [1, 1, 2])',
}
LOAD = {
    "torch": 'torch.export.load("{file}").module()',
    "aoti": 'torch._inductor.aoti_load_package("{file}")',
    "torchscript": 'torch.jit.load("{file}")',
}
ABOUT_SPANS = """
The input `spans` (batch, spans, 2) has the start and the end in seconds of the parts of each clip that are embedded.
All outputs have an axis for them behind the batch. `segment_mask` is 0 for what is no part of its clip, such as zeros.
"""
TEXT = """\
# {name}

Exported by `audio-branch export --format {format}`. Raw audio or features go in, with a mask of ones for what is valid
and zeros for the padding behind it. The padding may hold anything; batch and length are free. preprocess.json has the
sampling rate, names and versions. The outputs differ from those of the model by {difference:.1e} of the largest number.
{spans}
{snippets}
"""


def write_readme(folder: Path, about: dict) -> None:
    """Writes README.md, with snippets for models that take raw audio."""
    values = {
        "file": about["file"],
        "rate": about["sampling_rate"],
        "input": about["input"],
        "outputs": about["outputs"],
    }
    has_spans = "spans" in about["inputs"]
    values |= {name: code if has_spans else "" for name, code in SPANS.items()}
    blocks = []
    if about["source"] == "raw" and about["format"] == "onnx":
        blocks = [("python", PYTHON_ONNX), ("cpp", CPP_ONNX), ("javascript", JAVASCRIPT_ONNX)]
    elif about["source"] == "raw" and about["format"] == "openvino":
        blocks = [("python", PYTHON_OPENVINO)]
    elif about["source"] == "raw":
        values["load"] = LOAD[about["format"]].format(**values)
        blocks = [("python", PYTHON_TORCH)]
    snippets = "\n\n".join(f"```{language}\n{code.format(**values)}```" for language, code in blocks)
    text = TEXT.format(
        name=about["model"] or "Audio Branch",
        format=about["format"],
        difference=about["largest_difference"],
        spans=ABOUT_SPANS if has_spans else "",
        snippets=snippets,
    )
    (folder / "README.md").write_text(text.rstrip() + "\n", encoding="utf-8")
