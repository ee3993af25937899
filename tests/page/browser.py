"""A headless Chromium for the page's tests, where this machine has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing(what: str, *, is_ci: bool = os.environ.get("CI") == "true") -> None:
    """Skip with a reason; where CI=true nothing may be missing, and the test fails."""
    if is_ci:
        pytest.fail(f"{what}, and with CI=true that is a failure")
    pytest.skip(what)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a running Chromium of this machine."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        missing("no Chromium on this machine: `make browser` installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()
