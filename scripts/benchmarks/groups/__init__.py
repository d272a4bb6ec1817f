"""The groups of rows, in the order in which they run. Each adds its rows to the table of a `Bench`."""
from . import copying, directory, edits, history, listing, memory, reading, versions, writing

GROUPS = {
    "copy": copying.run,
    "write": writing.run,
    "edit": edits.run,
    "versions": versions.run,
    "history": history.run,
    "read": reading.live,
    "pinned": reading.pinned,
    "list": listing.run,
    "directory": directory.run,
}
ALWAYS = memory.run
