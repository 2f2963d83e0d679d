"""A server whose configuration changes while it runs."""

import signal
from pathlib import Path

from .wait import until


class Reloading:
    """A server whose file is edited: `edit(old, new)` rewrites it, `reload()` sends SIGHUP and waits for its end."""

    def __init__(self, server):
        self.server = server

    def edit(self, old, new):
        text = Path(self.server.config).read_text()
        assert old in text, f"{old!r} is not in\n{text}"
        Path(self.server.config).write_text(text.replace(old, new, 1))

    def reload(self, good=True, logged=True):
        """Returns the log's lines about it. `logged`: the log's level lets them through."""
        before = len(self.server.lines("reload"))
        audited = sum(each["action"] == "reload" for each in self.server.json("audit"))
        self.server.signal(signal.SIGHUP)
        if good:  # in the audit log whatever the log level is
            until("the reload is audited", lambda: sum(each["action"] == "reload"
                                                       for each in self.server.json("audit")) > audited)
        if good and logged:
            until("the reload is done", lambda: [each for each in self.server.lines("reload")[before:]
                                                 if each.fields["what"] == "done"])
        if not good:
            until("the reload is refused", lambda: len(self.server.lines("reload")) > before)
        return self.server.lines("reload")[before:]
