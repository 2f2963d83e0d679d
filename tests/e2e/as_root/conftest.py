"""A disk of each test's own."""

import pytest
from harness.disk import Disk


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk")
    yield made
    made.remove()
