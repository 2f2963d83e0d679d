"""The console in a real browser (tests/console): every action, what it says it will hit, what it does, and what is shown
where the server refuses.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "console"))

import runner  # noqa: E402
from world import World  # noqa: E402

pytestmark = pytest.mark.skipif(not runner.THERE, reason="needs nodejs, npm and chromium")


@pytest.fixture(scope="module")
def world(work, request):
    runner.install()
    made = World(work / request.module.__name__)
    yield made
    made.stop()


@pytest.mark.parametrize("name", ["actions", "choices"])
def test_actions_of_the_console(world, name):
    runner.run(world, name)
