"""Put on PYTHONPATH, records what a Python process attempts: every write, every program started, every connection.

Lines of JSON go to the file that RECORD_ATTEMPTS names: `["open", "/path"]`, `["subprocess.Popen", "git", ...]`.
The audit hook is called before the deed, so that an attempt that fails is on record too.
"""

import json
import os
import sys
from pathlib import Path

_PATHS = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.setxattr": ((0, None),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
    "sqlite3.connect": ((0, None),),
}
"""Where an event has its paths, each with the place of the folder's descriptor that it is relative to."""
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile"}
_NETWORK = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _absolute(path, folder):
    root = Path(f"/proc/self/fd/{folder}").readlink() if isinstance(folder, int) and folder >= 0 else ""
    return Path(root, os.fsdecode(path)).absolute()


def _begin(target):
    sink = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(*words):
        os.write(sink, (json.dumps([str(word) for word in words]) + "\n").encode())

    def hook(event, arguments):
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int):
                return
            if flags & _WRITING if mode is None else set(mode) & set("wax+"):
                note("open", _absolute(path, -1))
        elif event in _PATHS:
            for place, folder in _PATHS[event]:
                if not isinstance(arguments[place], int):
                    note(event, _absolute(arguments[place], -1 if folder is None else arguments[folder]))
        elif event in _PROGRAMS:
            words = arguments[1] if isinstance(arguments[1], list | tuple) else [arguments[1]]
            note("program", *(os.fsdecode(word) for word in words))
        elif event in _NETWORK:
            note(event, arguments[1])

    sys.addaudithook(hook)


if os.environ.get("RECORD_ATTEMPTS"):
    _begin(os.environ["RECORD_ATTEMPTS"])
