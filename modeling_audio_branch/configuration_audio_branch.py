from configuration_audio_branch import AudioBranchConfig  # noqa: F401  a saved checkpoint has the real file here
