"""When refusals of agents' keys mean that this bridge has none that work."""

import pytest

from bridge.outbound.refused_keys import FEW, PAUSE_FIRST_S, PAUSE_MOST_S, RefusedKeys
from bridge.settings import AgentKeys


def agents(count):
    """Agents with keys of their own."""
    return [AgentKeys(access_key=f"a{n}", secret_key="s") for n in range(count)]


@pytest.mark.parametrize(("count", "refusals"), [(1, FEW), (2, FEW), (5, 5), (200, 10)])
def test_refusals_of_all_or_many_agents_are_hopeless(count, refusals):
    """W 32: not the refusals of one removed agent among many, however often they come."""
    keys, known = RefusedKeys(lambda: count), agents(count)
    for _ in range(20 if count > FEW else 0):
        keys.refused(known[0])
    assert not keys.all_refused.is_set()
    for agent in [known[n % count] for n in range(refusals)]:
        keys.refused(agent)
    assert keys.all_refused.is_set()


def test_pauses_grow_to_a_limit_and_a_success_ends_them():
    """W 32: after a pause one refusal is enough for the next; a reply that goes out forgets all."""
    keys, (agent,) = RefusedKeys(lambda: 1), agents(1)
    for _ in range(FEW):
        keys.refused(agent)
    pauses = []
    for _ in range(6):
        pauses.append(keys.next_pause_s())
        keys.all_refused.clear()
        keys.refused(agent)
        assert keys.all_refused.is_set()
    assert pauses[0] == PAUSE_FIRST_S
    assert pauses[-1] == PAUSE_MOST_S
    assert pauses == sorted(pauses)
    keys.succeeded()
    keys.refused(agent)
    assert (keys.probing, keys.all_refused.is_set()) == (False, False)
