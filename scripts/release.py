"""Make a release: gather the changelog, set the version, build sdist and wheel into dist/.

python scripts/release.py 0.2.0            what would be done, and changes nothing
python scripts/release.py 0.2.0 --write    do it; commit and tag it yourself

The fragments of changelog/ become a section of CHANGELOG.md, sorted by name, and are removed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r'^version = "(?P<version>[^"]+)"$', re.M)
_NUMBERS = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_HEAD = "# Changelog\n"


class ReleaseError(Exception):
    """A release that cannot be made; the message says which rule it breaks."""


def fragments(root: Path) -> list[Path]:
    """Return the changelog's fragments, sorted by name."""
    return sorted(path for path in (root / "changelog").glob("*.md") if path.name != "README.md")


def section(version: str, day: date, paths: list[Path]) -> str:
    """Return the release's section: each fragment is a point, or the points that it lists."""
    points = []
    for path in paths:
        text = path.read_text(encoding="utf-8").strip()
        points += [line if line.startswith(("- ", "  ")) else f"- {line}" for line in text.splitlines() if line.strip()]
    return f"## {version} ({day.isoformat()})\n\n" + "\n".join(points) + "\n"


def check(root: Path, version: str) -> str:
    """Return the version that stands now. Raises ReleaseError when `version` cannot follow it."""
    found = _VERSION.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    now = found["version"] if found is not None else "0.0.0"
    if _NUMBERS.fullmatch(version) is None:
        raise ReleaseError(f"VERSION {version!r}: must be three numbers, such as 0.2.0")
    if [int(part) for part in version.split(".")] <= [int(part) for part in now.split(".")]:
        raise ReleaseError(f"VERSION {version}: must be above {now}, which stands in pyproject.toml")
    if not fragments(root):
        raise ReleaseError("changelog/: has no fragment, so there is nothing to release")
    return now


def write(root: Path, version: str, day: date) -> None:
    """Set the version, put the section on top of CHANGELOG.md, and remove the fragments."""
    paths = fragments(root)
    project = root / "pyproject.toml"
    project.write_text(_VERSION.sub(f'version = "{version}"', project.read_text(encoding="utf-8"), count=1), "utf-8")
    log = root / "CHANGELOG.md"
    older = log.read_text(encoding="utf-8").removeprefix(_HEAD) if log.exists() else ""
    log.write_text(f"{_HEAD}\n{section(version, day, paths)}{older}", encoding="utf-8")
    for path in paths:
        path.unlink()


def build(root: Path, folder: Path) -> list[Path]:
    """Build sdist and wheel into `folder` and return them. Raises ReleaseError."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"build failed:\n{done.stderr or done.stdout}")
    return sorted(folder.glob("torghut-*"))


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("version", help="three numbers, above the one that stands")
    parser.add_argument("--write", action="store_true", help="do it; without it only what would be done is shown")
    given = parser.parse_args()
    day = datetime.now(UTC).date()
    try:
        now = check(ROOT, given.version)
        print(f"{now} → {given.version}\n\n{section(given.version, day, fragments(ROOT))}")
        if given.write:
            write(ROOT, given.version, day)
            for path in build(ROOT, ROOT / "dist"):
                print(path.relative_to(ROOT))
            print(f"now: git commit -am 'release: {given.version}' && git tag v{given.version}")
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
