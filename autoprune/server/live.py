"""What happens, as it happens: one reader of the store for each experiment that somebody watches, however many watch.

A `Feed` keeps what it has read lately, once for all. Each client takes from there at its own pace; one that is so slow
that what it needs next is gone is let go. It comes back and says where it was (`Last-Event-ID`), and what it missed is
read from the store, a page at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from autoprune.errors import NotFoundError, StoreError
from autoprune.server.news import News, Reader, greeting, missed
from autoprune.store import Store

MOST_CLIENTS = 200
KEPT_BYTES = 1024 * 1024
_READ_SECONDS = 0.2
_HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b": still here\n\n"
_log = logging.getLogger("autoprune.server")


@dataclass
class Feed:
    """The news of one experiment. `end` is how many pieces there were, of which the last few are `kept`; `position` is
    the id of the last event in them."""

    reader: Reader
    position: int = 0
    end: int = 0
    clients: int = 0
    closed: bool = False
    kept: deque[News] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Read on for as long as somebody watches."""
        try:
            await asyncio.to_thread(self.reader.begin)
            self.position = self.reader.position
            self.ready.set()
            while not self.closed:
                await asyncio.sleep(_READ_SECONDS)
                await self._read()
        except NotFoundError:
            _log.info("experiment %s is gone", self.reader.experiment)
        except StoreError as error:
            _log.warning("%s", error)
        finally:
            self.close()

    async def _read(self) -> None:
        try:
            news = await asyncio.to_thread(self.reader.read)
        except StoreError as error:
            _log.warning("%s", error)
        else:
            if news.text:
                self._add(news)

    def _add(self, news: News) -> None:
        self.kept.append(news)
        self.end += 1
        self.position = news.last
        while len(self.kept) > 1 and sum(len(one.text) for one in self.kept) > KEPT_BYTES:
            self.kept.popleft()
        self._wake()

    def behind(self, place: int) -> list[News] | None:
        """The pieces from this place on; None where the first of them is gone."""
        first = self.end - len(self.kept)
        return None if place < first else [*self.kept][place - first :]

    async def more(self) -> bool:
        """Wait for the next piece, or the end; False where none came for some time."""
        try:
            await asyncio.wait_for(self._more.wait(), _HEARTBEAT_SECONDS)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Let all who watch go."""
        self.closed = True
        self.ready.set()
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


class CrowdedError(Exception):
    """Too many clients watch already."""


class Hub:
    """All feeds of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._feeds: dict[str, Feed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def watched(self) -> bool:
        return self._clients > 0

    @property
    def _clients(self) -> int:
        return sum(feed.clients for feed in self._feeds.values())

    async def watch(self, experiment: str, after: int | None = None) -> AsyncGenerator[bytes, None]:
        """What happens from now on, as server-sent events; before that, what followed the event of the id `after`.

        Raises CrowdedError at once where too many watch already, and StoreError where nothing can be read.
        """
        if self._clients >= MOST_CLIENTS:
            raise CrowdedError
        async with self._joined(experiment) as feed:
            await feed.ready.wait()
            if feed.closed:
                raise StoreError(f"the events of {experiment} cannot be read now")
            place, now = feed.end, feed.position
            yield greeting(now if after is None else min(after, now))
            while after is not None and after < now:
                news = await asyncio.to_thread(missed, self._store, experiment, after, now)
                after = news.last
                yield news.text
            while not feed.closed:
                pieces = feed.behind(place)
                if pieces is None:
                    return
                place = feed.end
                if pieces:
                    yield b"".join(piece.text for piece in pieces)
                elif not await feed.more():
                    yield _HEARTBEAT

    def close(self) -> None:
        """Let all clients go: the server ends."""
        for feed in self._feeds.values():
            feed.close()

    @asynccontextmanager
    async def _joined(self, experiment: str) -> AsyncIterator[Feed]:
        feed = self._feeds.get(experiment)
        if feed is None or feed.closed:
            feed = self._feeds[experiment] = Feed(Reader(self._store, experiment))
            task = asyncio.create_task(feed.run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        feed.clients += 1
        try:
            yield feed
        finally:
            feed.clients -= 1
            if not feed.clients:
                feed.close()
                if self._feeds.get(experiment) is feed:
                    del self._feeds[experiment]
