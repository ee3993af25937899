"""Write `docs/procedures/`: each procedure driven to its end at a terminal of 80 columns, by what each command printed.

    python scripts/write_transcripts.py [NAME...]

A fake cluster, a repository with the project's own manifests and a local forge; everything else is the program as it is
installed. A test makes each page anew and compares. The clock stands, so that the same page comes out.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.fakes.desk_scenes import SCENES  # noqa: E402
from tests.fakes.operator_desk import desk  # noqa: E402

FOLDER = ROOT / "docs" / "procedures"
_INDEX = """Each procedure, from what calls for it to the state that it brings, as a terminal of 80 columns shows it. The system is a
test cluster, the forge a bare repository; a line after a `$` is what the command before it printed, or stands in the
text, and the phrase is typed. The clock stands, so that these pages can be made again."""
_MARK = "<!-- Written by scripts/write_transcripts.py from what the program prints. -->"


def page(name: str) -> str:
    """Return the page of a scene."""
    scene = SCENES[name]
    with desk(is_shipped=scene.is_shipped) as played:
        scene.play(played)
    return "\n\n".join([f"# {scene.title}", _MARK, scene.text, *played.page]) + "\n"


def index() -> str:
    """Return the page that lists them."""
    rows = [f"| [{scene.title}]({name}.md) | {scene.text} |" for name, scene in SCENES.items()]
    return "\n\n".join(["# Procedures", _MARK, _INDEX, "\n".join(["| Page | From |", "|---|---|", *rows])]) + "\n"


if __name__ == "__main__":
    (FOLDER / "index.md").write_text(index())
    names = sys.argv[1:] or list(SCENES)
    with ThreadPoolExecutor(2) as pool:
        for name, text in zip(names, pool.map(page, names), strict=True):
            (FOLDER / f"{name}.md").write_text(text)
            print(f"wrote docs/procedures/{name}.md")
