"""One thin file per command: options in, a call, a report out. May not decide anything."""
