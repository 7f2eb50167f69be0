"""Pipelines of Audio Branch, shipped with every checkpoint. They decode and resample audio of any form."""

from types import GeneratorType

from torch.utils.data import Dataset
from transformers import AudioClassificationPipeline, Pipeline

from .audio_batch import as_clips


class AnyAudioPipeline:
    """A pipeline that tells one clip from a batch as `encode` does: a list of numbers is one clip."""

    def __call__(self, audio, **kwargs):
        if not isinstance(audio, (GeneratorType, Dataset)):  # these are read clip by clip
            clips, is_batch = as_clips(audio)
            audio = clips if is_batch else clips[0]
        return super().__call__(audio, **kwargs)

    def preprocess(self, audio, sampling_rate=None):
        return self.feature_extractor([audio], sampling_rate=sampling_rate, return_tensors="pt", return_lengths=True)

    def _forward(self, inputs):
        inputs = dict(inputs)
        lengths = inputs.pop("lengths")  # of one clip, or, where clips were batched, a list of such lists
        lengths = [length for each in lengths for length in (each if isinstance(each, list) else [each])]
        return self.model(**inputs, lengths=lengths)


class AudioSegmentEmbeddingPipeline(AnyAudioPipeline, Pipeline):
    """`pipeline("audio-segment-embedding", model=repo, trust_remote_code=True)(clip)`.

    Gives, as numpy arrays, `segment_features` (S, feature_dim), `segment_times` (S, 2) in seconds, `segment_mask` (S,)
    and `pooler_output` (feature_dim,). Arrays need `sampling_rate=` in Hz. A list is a list of clips.
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = True
    _load_tokenizer = False

    def _sanitize_parameters(self, sampling_rate=None, return_tensors=None):
        preprocess = {} if sampling_rate is None else {"sampling_rate": sampling_rate}
        postprocess = {} if return_tensors is None else {"return_tensors": return_tensors}
        return preprocess, {}, postprocess

    def postprocess(self, output, return_tensors=False):
        names = ("segment_features", "segment_times", "segment_mask", "pooler_output")
        tensors = {name: output[name][0].float() if name != "segment_mask" else output[name][0] for name in names}
        return tensors if return_tensors else {name: tensor.numpy() for name, tensor in tensors.items()}


class AudioFeatureExtractionPipeline(AudioSegmentEmbeddingPipeline):
    """`pipeline("feature-extraction", ...)`: the segment features (S, feature_dim), as nested lists or a tensor."""

    def postprocess(self, output, return_tensors=False):
        features = output["segment_features"][0].float()
        return features if return_tensors else features.tolist()


class AudioBranchClassificationPipeline(AnyAudioPipeline, AudioClassificationPipeline):
    """`pipeline("audio-classification", ...)` as in Transformers, for every form of audio and without ffmpeg."""

    def _sanitize_parameters(self, sampling_rate=None, **kwargs):
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        if sampling_rate is not None:
            preprocess["sampling_rate"] = sampling_rate
        return preprocess, forward, postprocess
