"""Happenings against what was known: what was destroyed, and what only came, grew or moved.

    deleted       a name is gone that had a file
    overwritten   a file was cut short, or no longer begins as it did; or another one took its
                  name (a rename over it, or removed and made anew) that does not begin as it did
    renamed       a file or folder has another name; one that left what is watched counts with all
                  files below it
    created, modified (grown at its end, or written but alike at its begin)

A deletion that is the last thing heard waits for the next look, a millisecond: whoever replaces
a file by removing it and making it anew has not deleted it. When the kernel has lost events, or
folders are met that were not known, they are read and compared with what was known: what is
missing was deleted. All of it goes in steps that are bounded in time.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from offswitch.clock import Clock
from offswitch.watch.sensors.files.events import FileEvents, Happening
from offswitch.watch.sensors.files.tree import Facts, Folder, Tree

__all__ = ["Loss", "Shadow"]

_CHECK_EVERY = 4
_MISSES = 4
_YOUNG_US = 60_000_000
"""A file that was made so lately and takes another's name is how editors save."""


@dataclass(slots=True, eq=False)
class Loss:
    """One thing that was destroyed or moved."""

    what: str
    """`deleted`, `overwritten` or `renamed`."""
    path: str
    relative: str
    """The path below what is watched."""
    facts: Facts | None
    """What it was; None: not known, or a folder."""
    pid: int = 0
    to: str = ""
    """Of a rename: where it is now, if that is known."""
    by: str = ""
    """Who did it, for people."""


class Shadow:
    """The tree as it was last known, and what has happened to it since it was asked."""

    __slots__ = ("_clock", "_counts_pid", "_drained", "_gone", "_held", "_ignored", "_inspect",
                 "_later", "_meet_git", "_most", "_pending", "_recovering", "_settled", "_unread",
                 "canaries", "counts", "events", "losses", "omitted", "tree")  # fmt: skip

    def __init__(
        self,
        tree: Tree,
        clock: Clock,
        ignore: Sequence[str],
        most: int,
        meet_git: Callable[[str], None],
    ) -> None:
        """Know nothing yet; `meet_git` is told of each folder that holds a `.git`."""
        self.tree = tree
        self._clock = clock
        self._ignored = re.compile("|".join(map(fnmatch.translate, ignore)) or r"(?!)").match
        self._most = most
        self._meet_git = meet_git
        self._counts_pid: Callable[[int], bool] = lambda _pid: True
        self.events: FileEvents | None = None
        self._pending: deque[Folder] = deque()
        """Folders that are to be read, or read again."""
        self._later: list[Folder] = []
        """Folders that were not where they are thought to be: what moved them is to be heard."""
        self._recovering = False
        self._unread: deque[tuple[Folder, str]] = deque()
        """Files whose content is not known yet."""
        self._inspect: dict[tuple[Folder, str], int] = {}
        """Files that were written, and by whom."""
        self._held: Happening | None = None
        self._gone: dict[tuple[Folder, str], Loss] = {}
        self._settled = self._drained = False
        self.counts: Counter[str] = Counter()
        self.losses: list[Loss] = []
        self.canaries: dict[str, str] = {}
        """The tokens that were found since, and the file that each was last found in."""
        self.omitted = 0
        """Files beyond the bound, which are not known."""

    def begin(self, events: FileEvents, counts_pid: Callable[[int], bool]) -> None:
        """Hear by `events`; what a process did for which `counts_pid` is false is not counted."""
        self.events = events
        self._counts_pid = counts_pid
        self.tree.root.scanned = False
        self._pending.append(self.tree.root)

    @property
    def settled(self) -> bool:
        """Whether all that was there has been read once."""
        return self._settled and self._drained

    @property
    def comparing(self) -> bool:
        """Whether folders wait to be read."""
        return bool(self._pending)

    @property
    def recovering(self) -> bool:
        """Whether events were lost, and not all was compared since."""
        return self._recovering

    @property
    def holds(self) -> bool:
        """Whether a deletion waits for the next look."""
        return self._held is not None

    @property
    def busy(self) -> bool:
        """Whether something waits that can be done at once."""
        return bool(self._pending or self._later or self._unread or self._inspect or self._held)

    def compare(self) -> None:
        """Read everything again: events were lost."""
        self._pending = deque(self.tree.root.below())
        self._recovering = True

    # --- happenings -----------------------------------------------------------------

    def apply(self, happenings: Sequence[Happening]) -> None:
        """Take in what happened, in order."""
        # What was queued before we began is about files that we never knew: until the queue
        # was empty once, a file that is not known is believed to have been there.
        self._drained = self._drained or self.events is None or not self.events.more
        self._pending += self._later
        self._later = []
        self._gone.clear()
        events = [self._held, *happenings] if self._held else list(happenings)
        self._held = None
        ends = events[-1] if happenings and self.settled else None
        if ends is not None and ends.what == "deleted" and not ends.is_folder:
            self._held = events.pop()
        for event in events:
            if event.what == "renamed":
                self._renamed(event)
            elif event.folder is None or not event.folder.attached():
                continue  # it has left meanwhile, and with it what happens in it
            elif not self._ignored(event.name):
                self._here(event, event.folder)
            elif event.name == ".git" and event.what == "created":
                self._meet_git(self.tree.path_of(event.folder))

    def _here(self, event: Happening, folder: Folder) -> None:
        if event.is_folder:
            if event.what == "created" and event.name not in folder.folders:
                self._add_folder(folder, event.name)
            elif event.what == "deleted":
                self._drop_folder(folder, event.name, event.pid)
        elif event.what == "created":
            self._created(folder, event.name, event.pid)
        elif event.what == "modified":
            self._inspect[folder, event.name] = event.pid
        elif event.what == "deleted":
            self._deleted(folder, event.name, event.pid)

    def _created(self, folder: Folder, name: str, pid: int) -> None:
        loss = self._gone.pop((folder, name), None)
        if loss is not None:  # removed and made anew
            self._count("deleted", pid, -1)
            self._count("overwritten", pid)
            loss.what = "overwritten"
        if name in folder.files:
            return
        born_us = loss.facts.born_us if loss is not None and loss.facts else self._clock.mono_us()
        facts = self.tree.stat(folder, name)
        known = Facts(facts.st_size, facts.st_ino, born_us) if facts else Facts(0, 0, born_us)
        if self._add(folder, name, known) and loss is None:
            self._count("created", pid)

    def _deleted(self, folder: Folder, name: str, pid: int) -> None:
        self._inspect.pop((folder, name), None)
        facts = folder.files.pop(name, None)
        if facts is None:
            if self.settled and not self.omitted:
                return  # never counted: made and removed in one, or told when it was compared
        else:
            self.tree.files -= 1
        loss = self._lose("deleted", folder, name, facts, pid)
        if loss is not None:
            self._gone[folder, name] = loss

    def _renamed(self, event: Happening) -> None:
        here, there = event.folder, event.to
        if here is not None and (self._ignored(event.name) or not here.attached()):
            here = None
        if there is not None and (self._ignored(event.to_name) or not there.attached()):
            there = None
        to = self.tree.path_of(event.to, event.to_name) if event.to else event.to_path
        if event.is_folder:
            self._renamed_folder(event, here, there, to)
            return
        facts = here.files.pop(event.name, None) if here is not None else None
        if facts is not None:
            self.tree.files -= 1
        if here is not None:
            self._inspect.pop((here, event.name), None)
        if there is not None:
            self._took_a_name(there, event.to_name, facts, event.pid)
        young = facts is not None and self._clock.mono_us() - facts.born_us < _YOUNG_US
        saved = young and facts is not None and facts.born_us and there is not None
        if here is not None and not saved and (facts is not None or not self.settled):
            self._lose("renamed", here, event.name, facts, event.pid, to)

    def _took_a_name(self, folder: Folder, name: str, facts: Facts | None, pid: int) -> None:
        """A file has a name now that it had not; another one may have had it."""
        old = folder.files.get(name)
        read = self.tree.read(folder, name, old)
        if old is not None:
            same = facts is not None and old.content is not None and facts.content == old.content
            if not same and (read is None or not read[1]):
                self._lose("overwritten", folder, name, old, pid)
            elif read is not None and read[0].content != old.content:
                self._count("modified", pid)
        elif facts is None:
            self._count("created", pid)
        # What cannot be read just now was moved on, or its folder was: that is yet to be heard.
        now = read[0] if read is not None else facts or Facts(0, 0)
        born_us = facts.born_us if facts is not None else self._clock.mono_us()
        now.born_us = min(born_us, old.born_us) if old is not None else born_us
        self._add(folder, name, now)
        if read is None:
            self._inspect[folder, name] = pid
        elif facts is None or facts.content != now.content:
            self._search(folder, name)

    def _renamed_folder(
        self, event: Happening, here: Folder | None, there: Folder | None, to: str
    ) -> None:
        node = here.folders.pop(event.name, None) if here is not None else None
        if there is not None:
            # One of this name was empty, or is this one, which we met before we heard of it.
            known = there.folders.pop(event.to_name, None)
            if known is not None:
                self._forget(known)
            if node is None:
                self._add_folder(there, event.to_name)
            else:
                node.name, node.parent, node.inode = event.to_name, there, 0
                there.folders[event.to_name] = node
                # Which folder that is by now is seen when it is read.
                self._pending += [node] if known is None else node.below()
                self.tree.rest()
        if here is None:
            return
        files = sum(len(one.files) for one in node.below()) if node is not None else 0
        if there is None and node is not None:
            self._forget(node)
        self._lose("renamed", here, event.name, None, event.pid, to, count=False)
        self._count("renamed", event.pid, max(files, 1) if there is None else 1)

    def _drop_folder(self, folder: Folder, name: str, pid: int) -> None:
        """A folder is gone, and with it what was in it, whether it was told of or not."""
        node = folder.folders.pop(name, None)
        if node is None:
            return
        for one in list(node.below()):
            for file in list(one.files):
                self._deleted(one, file, pid)
        self._forget(node)

    def _forget(self, node: Folder) -> None:
        if self.events is not None:
            self.events.forget(node)
        for one in node.below():
            self.tree.files -= len(one.files)
            one.files = {}
        self.tree.rest()

    def clear(self) -> None:
        """The root itself is gone: so is all that was known."""
        root = self.tree.root
        for name in list(root.folders):
            self._drop_folder(root, name, 0)
        for name in list(root.files):
            self._deleted(root, name, 0)

    def _count(self, what: str, pid: int, many: int = 1) -> None:
        if self._counts_pid(pid):
            self.counts[what] += many

    def _lose(
        self,
        what: str,
        folder: Folder,
        name: str,
        facts: Facts | None,
        pid: int,
        to: str = "",
        *,
        count: bool = True,
    ) -> Loss | None:
        if not self._counts_pid(pid):
            return None
        if count:
            self.counts[what] += 1
        path = self.tree.path_of(folder, name)
        loss = Loss(what, path, "/".join([*folder.parts(), name]), facts, pid, to)
        self.losses.append(loss)
        return loss

    # --- reading --------------------------------------------------------------------

    def meet(self, parts: Sequence[str]) -> Folder | None:
        """Take in a folder by the names that lead to it; None if it is ignored."""
        at = self.tree.root
        for part in parts:
            if self._ignored(part):
                return None
            known = at.folders.get(part)
            at = known if known is not None else self._add_folder(at, part)
        return at

    def _add_folder(self, folder: Folder, name: str) -> Folder:
        node = folder.folders[name] = Folder(name, folder)
        self._pending.append(node)
        if self.events is not None:
            with suppress(OSError):  # gone or moved already: it is seen when it is read
                self.events.know(node)
        return node

    def _add(self, folder: Folder, name: str, facts: Facts) -> bool:
        if name not in folder.files:
            if self.tree.files >= self._most:
                self.omitted += 1
                return False
            self.tree.files += 1
        folder.files[name] = facts
        if facts.content is None:
            self._unread.append((folder, name))
        return True

    def step(self, budget_us: int) -> None:
        """Read folders, then what was written, then what is not known, for so long at the most."""
        end_us = self._clock.mono_us() + budget_us
        done = 0
        while self._pending or self._inspect or self._unread:
            if self._pending:
                self._read_folder(self._pending.popleft())
                if not self._pending and not self._later:
                    self._settled, self._recovering = True, False
            elif self._inspect:
                (folder, name), pid = next(iter(self._inspect.items()))
                del self._inspect[folder, name]
                self._look_at(folder, name, pid)
            else:
                folder, name = self._unread.popleft()
                facts = folder.files.get(name)
                if facts is not None and facts.content is None:
                    self._learn(folder, name, facts)
            done += 1
            if done % _CHECK_EVERY == 0 and self._clock.mono_us() > end_us:
                break
        self.tree.rest()

    def _read_folder(self, folder: Folder) -> None:
        """Compare a folder with what is known of it."""
        if not folder.attached():
            return
        first = not folder.scanned and not self.settled
        try:
            if self.events is not None:
                self.events.know(folder)
            entries = dict(self.tree.entries(folder))
        except OSError as error:
            self._not_there(folder, error)
            return
        folder.misses = 0
        folder.scanned = True
        if ".git" in entries:
            self._meet_git(self.tree.path_of(folder))
        for name, facts in entries.items():
            if not self._ignored(name):
                self._meet_entry(folder, name, facts, first=first)
        for name in [one for one in folder.files if one not in entries]:
            self._deleted(folder, name, 0)
        for name in [one for one in folder.folders if one not in entries]:
            self._drop_folder(folder, name, 0)

    def _not_there(self, folder: Folder, error: OSError) -> None:
        """A folder cannot be read where it is thought to be.

        Most likely it was moved or removed, and that is yet to be heard; if it never is, then
        events were lost, and the folder is.
        """
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP} or folder.parent is None:
            self.omitted += 1
            return
        folder.misses += 1
        if folder.misses < _MISSES:
            self._later.append(folder)
        else:
            self._drop_folder(folder.parent, folder.name, 0)

    def _meet_entry(self, folder: Folder, name: str, facts: os.stat_result, *, first: bool) -> None:
        """Take in an entry that was listed."""
        if stat.S_ISDIR(facts.st_mode):
            if name not in folder.folders:
                self._add_folder(folder, name)
            return
        was = folder.files.get(name)
        if was is None:
            born_us = 0 if first else self._clock.mono_us()
            known = Facts(facts.st_size, facts.st_ino, born_us)
            if self._add(folder, name, known) and not first:
                self._count("created", 0)
        elif (was.inode, was.size) != (facts.st_ino, facts.st_size):
            self._inspect.setdefault((folder, name), 0)

    def _look_at(self, folder: Folder, name: str, pid: int) -> None:
        """A file was written: did it grow, or was something of it destroyed?"""
        before = folder.files.get(name)
        read = self.tree.read(folder, name, before) if folder.attached() else None
        if read is None:
            return  # gone or moved: that is told by itself
        now, as_before = read
        if before is None or now.content != before.content:
            self._search(folder, name)
        if before is None:
            now.born_us = self._clock.mono_us()
            if self._add(folder, name, now):
                self._count("created", pid)
            return
        if not as_before:
            self._lose("overwritten", folder, name, before, pid)
        elif now.content != before.content:
            self._count("modified", pid)
        self._add(folder, name, now)

    def _search(self, folder: Folder, name: str) -> None:
        """Search what was written for canaries; who wrote them there does not matter."""
        for canary in self.tree.canaries(folder, name):
            self.canaries[canary] = self.tree.path_of(folder, name)
            self.counts["canary"] += 1

    def _learn(self, folder: Folder, name: str, facts: Facts) -> None:
        read = self.tree.read(folder, name, None) if folder.attached() else None
        if read is not None:
            facts.size, facts.inode, facts.content = read[0].size, read[0].inode, read[0].content
