"""The errors of an index."""

from modeling_audio_branch.corpus.errors import CorpusError


def test_an_error_of_an_index_is_a_value_error_as_those_of_other_input():
    assert issubclass(CorpusError, ValueError) and str(CorpusError("a sentence")) == "a sentence"
