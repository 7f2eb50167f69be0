"""The upload itself, with faults: all or nothing, and the error says what is on the Hub."""

import re

import pytest
from huggingface_hub import HfApi

from helpers.loopback_hub import Fault
from modeling_audio_branch.hub.errors import UploadError
from modeling_audio_branch.hub.publish import publish
from modeling_audio_branch.hub.target import check_target

FAULTS = [
    (Fault("POST", "/commit/", 500), "answered with an error .500.", "was created there, and nothing was sent"),
    (Fault("POST", "/commit/", 403), "may not write", "was created there, and nothing was sent"),
    (Fault("POST", "/commit/", "drop"), "connection to the Hub was lost", "nothing was sent"),
    (Fault("POST", "/commit/", "lose"), "connection to the Hub was lost", "is in alice/tiny now, from this command or"),
    (Fault("PUT", "/lfs/", 403), "may not write", "was created there, and nothing was sent"),
    (Fault("POST", "/objects/batch", 403), "may not write", "was created there, and nothing was sent"),
    (Fault("POST", "/preupload/", 403), "may not write", "was created there, and nothing was sent"),
    (Fault("POST", "/repos/create", 403), "may not write", "Nothing was changed"),
    (Fault("POST", "/repos/create", "drop"), "connection to the Hub was lost", "Nothing was changed"),
    (
        Fault("POST", "/repos/create", "lose"),
        "connection to the Hub was lost",
        "was created there, and nothing was sent",
    ),
]


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(("fault", "why", "state"), FAULTS, ids=lambda each: f"{each}"[:60])
def test_a_fault_publishes_nothing_half_and_says_what_is_there_and_can_be_repeated(fault, why, state, hub, small):
    api = HfApi()
    hub.faults.append(Fault(fault.method, fault.path, fault.what))
    with pytest.raises(UploadError) as error:
        publish(api, small, check_target(api, "alice/tiny"))
    assert re.search(why, str(error.value)) and state in str(error.value), str(error.value)
    assert "hf_alice" not in str(error.value) and "run the command again" in str(error.value)
    if "alice/tiny" in hub.repositories:  # all or nothing
        assert set(hub.repositories["alice/tiny"].files()) - {".gitattributes"} in (set(), set(map(str, names(small))))
    publish(api, small, check_target(api, "alice/tiny"))
    assert set(hub.repositories["alice/tiny"].files()) - {".gitattributes"} == set(names(small))
    assert len(hub.repositories["alice/tiny"].messages) == 2


@pytest.mark.parametrize("fault", [Fault("POST", "/commit/", 403), Fault("POST", "/validate-yaml", 500)])
def test_a_failed_update_says_that_nothing_was_changed(fault, hub, small):
    api = HfApi()
    publish(api, small, check_target(api, "alice/tiny"))
    (small / "config.json").write_text('{"model_type": "audio_branch", "new": 1}')
    hub.faults.append(Fault(fault.method, fault.path, fault.what))
    with pytest.raises(UploadError, match="Nothing was changed there"):
        publish(api, small, check_target(api, "alice/tiny"))


def test_a_lost_answer_about_a_pull_request_names_it(hub, small):
    api = HfApi()
    publish(api, small, check_target(api, "alice/tiny"))
    (small / "config.json").write_text('{"model_type": "audio_branch", "new": 1}')
    hub.faults.append(Fault("POST", "/commit/", "lose"))
    with pytest.raises(UploadError, match="The pull request refs/pr/1 of alice/tiny was opened"):
        publish(api, small, check_target(api, "alice/tiny", pr=True))


def test_an_interruption_says_what_is_there(hub, small, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    api = HfApi()
    monkeypatch.setattr(api, "create_commit", interrupted)
    with pytest.raises(UploadError, match="Interrupted. The empty repository alice/tiny was created"):
        publish(api, small, check_target(api, "alice/tiny"))


def test_a_card_that_the_hub_does_not_take_sends_nothing(hub, small):
    (small / "README.md").write_text("---\nlicense: No Such Licence\n---\n")
    with pytest.raises(UploadError, match="does not accept the card's metadata .*not a known licence"):
        publish(HfApi(), small, check_target(HfApi(), "alice/tiny"))
    assert set(hub.repositories["alice/tiny"].files()) == {".gitattributes"}


def test_a_server_error_while_the_weights_are_sent_is_tried_again(hub, small):
    api = HfApi()
    hub.faults.append(Fault("PUT", "/lfs/", 500))
    publish(api, small, check_target(api, "alice/tiny"))
    assert set(names(small)) <= set(hub.repositories["alice/tiny"].files())


def test_a_change_by_somebody_else_in_the_meantime_is_not_overwritten(hub, small):
    api = HfApi()
    publish(api, small, check_target(api, "alice/tiny"))
    target = check_target(api, "alice/tiny")
    repository = hub.repositories["alice/tiny"]
    theirs = repository.commit("refs/heads/main", repository.files() | {"config.json": b"{}"}, "theirs")
    (small / "config.json").write_text('{"model_type": "audio_branch", "new": 1}')
    with pytest.raises(UploadError, match="changed by somebody else"):
        publish(api, small, target)
    assert repository.refs["refs/heads/main"] == theirs
