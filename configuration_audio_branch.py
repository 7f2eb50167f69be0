"""The configuration under its top-level name; the code is in the package."""

from modeling_audio_branch.configuration_audio_branch import AudioBranchConfig

__all__ = ["AudioBranchConfig"]
