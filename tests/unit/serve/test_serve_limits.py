"""The bytes that all requests hold together."""

import pytest

from modeling_audio_branch.serve.limits import ByteBudget, RequestError


def test_a_budget_refuses_what_is_too_much_and_gets_everything_back():
    budget = ByteBudget(100)
    with budget.share() as first, budget.share() as second:
        first.take(60)
        second.take(40)
        with pytest.raises(RequestError, match="again") as refused:
            first.take(1)
        assert refused.value.status == 503 and budget.held == 100
    assert budget.held == 0
    with pytest.raises(ZeroDivisionError), budget.share() as share:
        share.take(100)
        raise ZeroDivisionError
    assert budget.held == 0
