"""Fetch GitHub's published OpenAPI description (npm, `@octokit/openapi`) into .engines/, for the tests that follow it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "@octokit/openapi@23.0.2"
TARGET = Path(__file__).resolve().parents[1] / ".engines" / "github" / "api.github.com.json"


def main() -> int:
    """Return 0 when the description is there; its absence only skips the tests that need it."""
    if TARGET.is_file():
        return 0
    if shutil.which("npm") is None:
        print("npm is not installed: the tests against GitHub's description will be skipped")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--prefix", folder]
        done = subprocess.run(["npm", "install", *options, PACKAGE], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"npm could not fetch {PACKAGE}: the tests against GitHub's description will be skipped")
            return 0
        found = Path(folder) / "node_modules" / "@octokit" / "openapi" / "generated" / "api.github.com.json"
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
