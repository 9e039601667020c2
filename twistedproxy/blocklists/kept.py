"""One list as the daemon keeps it: what its settings say, what there is of it, and when it is looked at again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from twistedproxy.access.blocklists.image import NoImage
from twistedproxy.access.blocklists.report import Report
from twistedproxy.blocklists.compiling import Job
from twistedproxy.blocklists.files import BlocklistError, ListFiles, ListOrder, open_image
from twistedproxy.blocklists.state import EMPTY, Facts, ListState
from twistedproxy.settings.blocklist_tables import is_url
from twistedproxy.settings.blocklists import Blocklist, BlocklistsSettings
from twistedproxy.settings.quantities import parse_duration

RETRY: Final = (60.0, 300.0, 900.0, 3600.0)
"""Seconds until a list that could not be refreshed is tried again, by how often that has failed."""


class KeptList:
    """A list of ``settings``, with what is on disk of it in ``files``.

    ``report`` is that of the image in use, at the path ``image``; None while there is none.
    """

    def __init__(self, settings: Blocklist, files: ListFiles) -> None:
        self.settings = settings
        self.facts = Facts(settings.source)
        self.report: Report | None = None
        self.image = ""
        self.size = 0
        self.call: Any = None
        self._files = files
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            facts = msgspec.json.decode(files.facts(settings.name).read_bytes(), type=Facts)
            if facts.source == settings.source:
                self.facts = facts
        with suppress(OSError, NoImage):
            path = files.image(settings.name, self.made_from(self.path))
            self._use(path, open_image(path, files.prime()).report)

    def __repr__(self) -> str:
        return f"<KeptList {self.settings.name} {self.image or 'absent'}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.name

    @property
    def fetched(self) -> bool:
        """Whether it comes from a URL."""
        return is_url(self.settings.source)

    @property
    def path(self) -> Path:
        """The file that it is read from."""
        return self._files.copy(self.name) if self.fetched else Path(self.settings.source)

    @property
    def entries(self) -> int:
        """How many are in use."""
        return self.report.names + self.report.rules if self.report is not None else 0

    def _use(self, image: Path, report: Report) -> None:
        self.image, self.size, self.report = str(image), image.stat().st_size, report

    # ------------------------------------------------------------ making an image

    def made_from(self, path: Path) -> str:
        """What an image of the file at ``path`` is made from. Raises `OSError`."""
        one = self.settings
        status = os.stat(path)
        return f"{one.source} {one.format} {one.subdomains} {status.st_mtime_ns} {status.st_size}"

    @property
    def outdated(self) -> bool:
        """Whether the file is another than the one that the image in use was made from. Raises `OSError`."""
        return self.image != str(self._files.image(self.name, self.made_from(self.path)))

    @property
    def can_be_made(self) -> bool:
        """Whether there is no image, and a file to make it from; of one that is fetched only its source's."""
        return self.report is None and (not self.fetched or (self.facts.changed > 0 and self.path.exists()))

    def job(self, path: Path, most: int) -> Job:
        """To make an image of the file at ``path``, which is not in use yet. Raises `BlocklistError`."""
        try:
            made_from = self.made_from(path)
            image = self._files.beside(self._files.image(self.name, made_from))
            prime = self._files.prime()
        except OSError as error:
            raise BlocklistError(f"{error.filename or path}: {error.strerror or error}") from error
        return Job(
            path=str(path),
            image=str(image),
            format=self.settings.format,
            subdomains=self.settings.subdomains,
            prime=prime,
            source=made_from,
            most=most,
        )

    def verify(self, report: Report, settings: BlocklistsSettings, force: bool) -> None:
        """Raise `BlocklistError` when a copy with that ``report`` is likely to be a mistake."""
        new, old = report.names + report.rules, self.entries
        if not new:
            raise BlocklistError(f"there is nothing in it that could be understood, in {report.lines} lines")
        if not force and new < old * (100 - settings.max_shrink) / 100:
            raise BlocklistError(
                f"it has shrunk from {old} to {new} entries: pyproxyctl block refresh --force takes it"
            )

    def take(self, job: Job, report: Report, now: float) -> None:
        """Let what came of ``job`` be the list from now on. Raises `OSError`."""
        image = self._files.image(self.name, job.source)
        os.replace(job.image, image)
        self._use(image, report)
        self.facts.changed = now
        self.is_fresh(now)

    # ------------------------------------------------------------ what happened

    def is_fresh(self, now: float) -> None:
        """It has been looked at, and is as it is there."""
        facts = self.facts
        facts.checked, facts.failures, facts.error = now, 0, ""
        self.write_facts()

    def has_failed(self, error: Exception) -> None:
        """It could not be looked at, or what is there cannot be used."""
        self.facts.failures += 1
        self.facts.error = str(error)
        self.write_facts()

    def write_facts(self) -> None:
        """Keep what is known of it; where that cannot be, a start has to ask again."""
        with suppress(OSError):
            self._files.keep(self._files.facts(self.name), msgspec.json.encode(self.facts))

    def due(self, settings: BlocklistsSettings, now: float) -> float:
        """In how many seconds it is to be looked at again."""
        facts = self.facts
        interval = parse_duration(self.settings.refresh) if self.settings.refresh else settings.refresh
        if facts.failures:
            return min(RETRY[min(facts.failures, len(RETRY)) - 1], interval)
        if self.report is None:
            return 0.0
        # A clock that was wrong must not put it off for years.
        return max(0.0, min(facts.checked, now) + interval - now)

    def cancel(self) -> None:
        """Look at it no more."""
        call, self.call = self.call, None
        if call is not None and call.active():
            call.cancel()

    # ------------------------------------------------------------ what is told of it

    def order(self) -> ListOrder:
        """It, for workers."""
        one = self.settings
        return ListOrder(one.name, one.category, one.action, one.allow, one.everybody, one.exceptions, self.image)

    def state(self, next: float) -> ListState:
        """It, for the operator; ``next`` is when it is looked at again, in seconds since 1970."""
        one, facts, report = self.settings, self.facts, self.report or EMPTY
        return ListState(
            name=one.name,
            source=one.source,
            format=one.format,
            category=one.category,
            action=one.action,
            allow=one.allow,
            everybody=one.everybody,
            names=report.names,
            rules=report.rules,
            lines=report.lines,
            skipped=report.skipped,
            bad=report.bad,
            faults=report.faults,
            memory=self.size,
            checked=facts.checked,
            changed=facts.changed,
            next=next,
            error=facts.error,
        )
