"""A snapshot on disk: a folder or a `.tar.gz` with `snapshot.json` and one file per reading, the same bytes each time.

The index holds each reading's SHA-256 and its own, over the rest of it: a bundle that was cut or edited is refused,
never judged. It is a check against accidents and half-done edits, not a signature: who writes a whole new bundle can.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.errors import InputError
from torghutctl.snapshot import sources
from torghutctl.snapshot.model import Failure, Names, Reading, Snapshot

SCHEMA = "torghut.snapshot/v1"
INDEX = "snapshot.json"
MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_FILES = 20_000
MAX_ARCHIVE_BYTES = 512 * 1024 * 1024
_MEMBER = re.compile(r"(?:\./)?(snapshot\.json|readings(?:/[^/]+)+\.json)")
_OTHER_FORMS = frozenset({".tar", ".gz", ".zip", ".json", ".yaml", ".bz2", ".xz", ".zst"})
_TARGETS = ("cluster", "local")
_HINT = "a bundle is what `torghutctl snapshot PATH` or `health-report --record PATH` wrote"


def refuse_taken(path: Path, option: str) -> None:
    """Raise InputError, naming the option, when what is at `path` is no bundle, or the name promises another form."""
    hint = "name a new folder or a .tar.gz file"
    if path.suffix in _OTHER_FORMS and not _is_archive(path):
        raise InputError(f"{option} {path}: a bundle is a folder or a file that ends in .tar.gz", hint=hint)
    try:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
        is_bundle = _is_archive(path) != path.is_dir() and _holds_bundle(path)
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be written ({error.strerror})", hint=hint) from error
    if not is_bundle:
        raise InputError(f"{option} {path}: is there already and is no bundle", hint=hint)


def _is_archive(path: Path) -> bool:
    return path.name.endswith((".tar.gz", ".tgz"))


def _holds_bundle(path: Path) -> bool:
    """Tell whether something that calls itself a bundle is there: an older or a broken one may be written over."""
    if path.is_dir():
        return (path / INDEX).is_file()
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            first = archive.next()
        return first is not None and _MEMBER.fullmatch(first.name) is not None
    except (OSError, tarfile.TarError, EOFError, zlib.error):
        return False


def write(snapshot: Snapshot, path: Path, option: str) -> None:
    """Write `snapshot` to `path`: one compressed file when its name ends in `.tar.gz`, else a new or empty folder.

    Raises InputError, naming the option, when the path is taken by something else or cannot be written.
    """
    files = dict(_files(snapshot))
    refuse_taken(path, option)
    try:
        if _is_archive(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_archive(files))
            return
        for old in sorted(path.glob("readings/**/*.json")) if path.is_dir() else ():
            old.unlink()
        for name, content in files.items():
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be written ({error.strerror})") from error


def read(path: Path) -> Snapshot:
    """Return the snapshot in the folder or archive at `path`. Raises InputError when it is not a whole bundle."""
    if not path.exists():
        raise InputError(f"--from-snapshot {path}: there is no such file or folder", hint=_HINT)
    try:
        files = _read_archive(path) if path.is_file() else _read_folder(path)
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(f"--from-snapshot {path}: cannot be read ({type(error).__name__})", hint=_HINT) from error
    index = _json(files, INDEX, path)
    if not isinstance(index, dict) or index.get("schemaVersion") != SCHEMA:
        found = index.get("schemaVersion") if isinstance(index, dict) else None
        hint = _HINT if not str(found).startswith("torghut.snapshot/") else "read it with the torghutctl that wrote it"
        raise InputError(f"--from-snapshot {path}: schemaVersion must be {SCHEMA}", hint=hint)
    if index.get("target") not in _TARGETS:
        raise InputError(f"--from-snapshot {path}: target must be one of {', '.join(_TARGETS)}", hint=_HINT)
    try:
        if index.get("sha256") != _digest(index):
            raise InputError(f"--from-snapshot {path}: {INDEX} was changed after it was written", hint=_HINT)
        known = {field.name for field in fields(Names)}
        names = Names(**{key: str(value) for key, value in index["names"].items() if key in known})
        readings = dict(_readings(files, index["readings"], path))
        observed_at_ns = parse_ns(index["observedAt"])
        target = str(index["target"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"--from-snapshot {path}: {INDEX} is incomplete ({error})", hint=_HINT) from error
    return Snapshot(observed_at_ns=observed_at_ns, names=names, target=target, readings=readings)


@contextmanager
def blamed(path: Path | None) -> Iterator[None]:
    """Turn what a reading of another shape makes of a judgement into an InputError that names the bundle at `path`.

    Without a path nothing is turned: what is read live has been parsed here, and an error there is a bug.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if path is None or isinstance(error, InputError):
            raise
        message = f"--from-snapshot {path}: a reading has not the shape this version writes ({type(error).__name__})"
        raise InputError(message, hint="read it with the torghutctl that wrote it") from error


def _files(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    entries: dict[str, Any] = {}
    for source, reading in sorted(snapshot.readings.items()):
        if reading.failure is not None:
            entries[source] = {"failure": reading.failure.value, "detail": reading.detail}
            continue
        name = f"readings/{quote(source, safe='/')}.json"
        content = _dump(reading.value)
        entries[source] = {"file": name, "sha256": hashlib.sha256(content).hexdigest()}
        yield name, content
    index = {
        "schemaVersion": SCHEMA,
        "observedAt": format_ns(snapshot.observed_at_ns),
        "target": snapshot.target,
        "names": asdict(snapshot.names),
        "readings": entries,
    }
    yield INDEX, _dump({**index, "sha256": _digest(index)})


def _digest(index: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an index as it is written, without its own digest."""
    return hashlib.sha256(_dump({key: value for key, value in index.items() if key != "sha256"})).hexdigest()


def _dump(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _read_archive(path: Path) -> dict[str, bytes]:
    """Return the members; nothing is unpacked to disk. The whole file is read first, so that a cut end is noticed."""
    too_large = InputError(f"--from-snapshot {path}: is larger than a bundle can be", hint=_HINT)
    with gzip.open(path) as packed:
        content = packed.read(MAX_ARCHIVE_BYTES + 1)
    if len(content) > MAX_ARCHIVE_BYTES:
        raise too_large
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for entry in archive:
            if entry.isdir():
                continue
            member = _MEMBER.fullmatch(entry.name)
            if member is None or not entry.isreg() or ".." in entry.name.split("/") or member[1] in files:
                what = "twice" if member is not None and member[1] in files else "which no bundle has"
                raise InputError(f"--from-snapshot {path}: holds {entry.name!r}, {what}", hint=_HINT)
            if len(files) >= MAX_FILES or entry.size > MAX_FILE_BYTES:
                raise too_large
            stream = archive.extractfile(entry)
            files[member[1]] = stream.read() if stream is not None else b""
    return files


def _read_folder(path: Path) -> dict[str, bytes]:
    if not (path / INDEX).is_file():
        raise InputError(f"--from-snapshot {path}: has no {INDEX}", hint=_HINT)
    found = [path / INDEX, *sorted((path / "readings").glob("**/*.json"))]
    if len(found) > MAX_FILES or any(item.stat().st_size > MAX_FILE_BYTES for item in found):
        raise InputError(f"--from-snapshot {path}: is larger than a bundle can be", hint=_HINT)
    return {item.relative_to(path).as_posix(): item.read_bytes() for item in found}


def _readings(files: Mapping[str, bytes], entries: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Reading]]:
    spare = {*files} - {INDEX}
    for source, entry in entries.items():
        if not sources.is_known(source):
            raise InputError(f"--from-snapshot {path}: {INDEX} names the unknown source {source!r}", hint=_HINT)
        if "failure" in entry:
            yield source, Reading(source=source, failure=Failure(entry["failure"]), detail=str(entry.get("detail", "")))
        else:
            name = str(entry["file"])
            value = _json(files, name, path)
            if hashlib.sha256(files[name]).hexdigest() != entry["sha256"]:
                raise InputError(f"--from-snapshot {path}: {name} was changed after it was written", hint=_HINT)
            spare.discard(name)
            yield source, Reading(source=source, value=value)
    if spare:
        raise InputError(f"--from-snapshot {path}: holds {min(spare)!r}, which {INDEX} does not name", hint=_HINT)


def _json(files: Mapping[str, bytes], name: str, path: Path) -> Any:
    if name not in files:
        raise InputError(f"--from-snapshot {path}: has no {name}", hint=_HINT)
    try:
        return json.loads(files[name])
    except (ValueError, RecursionError) as error:
        raise InputError(f"--from-snapshot {path}: {name} is not JSON", hint=_HINT) from error
