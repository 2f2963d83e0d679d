"""What the tests of several machines share."""

import pytest

from harness.authority import Authority


@pytest.fixture
def fleet(edge, work, request):
    """A CA of one test alone, registered at the first node and known at all."""
    made = Authority(work / f"ca-{request.node.name[-40:]}", request.node.name[-60:])
    made.register(edge.nodes[0])
    edge.settled()
    return made
