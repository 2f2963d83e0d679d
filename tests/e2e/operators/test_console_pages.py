"""The console in a real browser (tests/console): every page as operator and viewer, axe in both themes, both languages, a
phone, hostile names, the keyboard alone, a thousand sessions.
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


@pytest.mark.parametrize("name", ["pages", "strangers"])
def test_pages_of_the_console(world, name):
    runner.run(world, name)
