"""A database for each test, with what a store and leases need."""

from collections.abc import Iterator

import pytest

from tests import postgres


@pytest.fixture
def url() -> Iterator[str]:
    address = postgres.fresh_database()
    yield address
    postgres.give_back(address)
