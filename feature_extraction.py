"""The feature extractor under its top-level name; the code is in the package."""

from modeling_audio_branch.feature_extraction import AudioBranchFeatureExtractor

__all__ = ["AudioBranchFeatureExtractor"]
