"""Looking at the Hub before an upload: impossible destinations are refused in one sentence."""

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from modeling_audio_branch.hub.errors import UploadError
from modeling_audio_branch.hub.push import push_checkpoint
from modeling_audio_branch.hub.target import check_target


@pytest.mark.parametrize(
    ("repo_id", "token", "sentence"),
    [
        ("alice/ti ny", "hf_alice", "is not valid"),
        ("tiny", "hf_alice", "is not valid"),
        ("a/b/c", "hf_alice", "is not valid"),
        ("alice/tiny", None, "no token"),
        ("alice/tiny", "hf_wrong", "does not accept the token"),
        ("alice/tiny", "hf_\u00e9", "does not accept the token"),
        ("alice/tiny", "hf_reader", "may only read"),
        ("alice/tiny", "hf_fine", "may not write to alice/tiny"),
        ("bob/tiny", "hf_alice", "alice cannot write to bob/"),
    ],
)
def test_a_bad_target_is_refused_in_one_sentence(
    repo_id, token, sentence, checkpoint, hub, monkeypatch, tmp_path, no_clean_room
):
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UploadError, match=sentence) as error:
        push_checkpoint(checkpoint, repo_id, yes=True)
    assert "\n" not in str(error.value) and (token is None or token not in str(error.value))
    assert not hub.repositories


def test_a_repository_with_other_contents_is_left_alone(checkpoint, hub):
    api = HfApi()
    for name, content in (("secrets.txt", b"x"), ("config.json", b'{"model_type": "bert"}')):
        api.create_repo("alice/other")
        repository = hub.repositories["alice/other"]
        before = repository.commit("refs/heads/main", {name: content}, "theirs")
        with pytest.raises(UploadError, match=rf"holds other contents \({name}\)"):
            push_checkpoint(checkpoint, "alice/other", yes=True)
        assert repository.refs["refs/heads/main"] == before
        del hub.repositories["alice/other"]


def test_a_new_branch_of_other_contents_is_refused_too(checkpoint, hub):
    HfApi().create_repo("alice/other")
    repository = hub.repositories["alice/other"]
    repository.commit("refs/heads/main", {"secrets.txt": b"x"}, "theirs")
    with pytest.raises(UploadError, match="holds other contents"):
        push_checkpoint(checkpoint, "alice/other", revision="two", yes=True)
    assert "refs/heads/two" not in repository.refs


@pytest.mark.parametrize("content", [b"[]", b"not json", b"\xff", b"{}"])
def test_a_remote_configuration_that_is_none_counts_as_other_contents(content, hub):
    HfApi().create_repo("alice/other")
    hub.repositories["alice/other"].commit("refs/heads/main", {"config.json": content}, "theirs")
    with pytest.raises(UploadError, match="holds other contents"):
        check_target(HfApi(), "alice/other")


def test_a_public_repository_is_not_taken_for_a_private_one(checkpoint, hub, no_clean_room):
    push_checkpoint(checkpoint, "alice/tiny", yes=True)
    with pytest.raises(UploadError, match="alice/tiny is public"):
        push_checkpoint(checkpoint, "alice/tiny", private=True, yes=True)


@pytest.mark.parametrize("name", ["v 1", "a..b", "~x", "refs/heads/x", "a" * 40, "x/", "-x", "x.lock^"])
def test_impossible_branches_and_tags_are_refused_before_anything_else(name, checkpoint, tmp_path):
    for option in ("revision", "tag"):
        with pytest.raises(UploadError, match=f"--{option} .* is not valid"):
            push_checkpoint(checkpoint, "alice/tiny", dry_run=tmp_path / "out", **{option: name})
