"""The option that stores the golden pictures anew."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--update-goldens`."""
    parser.addoption("--update-goldens", action="store_true", help="store the pictures anew")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether to store the golden pictures instead of comparing with them."""
    return bool(request.config.getoption("--update-goldens", default=False))
