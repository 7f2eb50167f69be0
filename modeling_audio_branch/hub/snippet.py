"""The Python snippet of the card: the clean process runs it, and the card shows it with what it printed."""

SNIPPET = """\
from transformers import AutoFeatureExtractor, AutoModel

repo = "{repo}"
model = AutoModel.from_pretrained(repo, {revision}trust_remote_code=True)
clips = ["one.wav", "two.wav"]  # also mp3, flac, ogg, bytes, or dicts of an array and its sampling_rate
out = model.encode(clips)
print(out.segment_features.shape)
print(out.segment_times.shape)
print(out.pooler_output.shape)

extractor = AutoFeatureExtractor.from_pretrained(repo, {revision}trust_remote_code=True)
out = model(**extractor(clips, return_tensors="pt"))  # the same, for training and for batches of your own
print(out.segment_features.shape)
"""


def usage_snippet(repository: str, revision: str | None = None) -> str:
    """Python code that uses a repository (an id or a folder), pinned to a revision if one is given."""
    return SNIPPET.format(repo=repository, revision=f'revision="{revision}", ' if revision else "")


def with_output(snippet: str, printed: list[str]) -> str:
    """The snippet with the printed line behind each of its print calls, as a comment."""
    lines, output = [], iter(printed)
    for line in snippet.rstrip().splitlines():
        lines.append(f"{line}  # {next(output)}" if line.startswith("print(") else line)
    return "\n".join(lines)
