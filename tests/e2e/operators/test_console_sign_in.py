"""The console in a real browser (tests/console): signing in and out, the end of a session and of the server in the middle.
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


@pytest.mark.parametrize("name", ["sign-in"])
def test_signing_in_to_the_console(world, name):
    runner.run(world, name)
