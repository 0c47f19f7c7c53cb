"""The emulator as a server: one file, one event loop, one socket.

Raises what is wrong with the file before it listens, so whoever started it hears one line. uvicorn is imported here and
nowhere else, when a server is started; a connection is `connection.py`'s.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec

from fnqueue.broker.embedded.service import QueueService
from fnqueue.clock import SystemClock, TurnableClock
from fnqueue.database import Database
from fnqueue.emulator.app import Setting
from fnqueue.emulator.browsers import may_be_a_pages
from fnqueue.emulator.site import Engine, Site
from fnqueue.errors import ExtraMissing, FnQueueError
from fnqueue.schedule.service import ScheduleService

_BACKLOG = 2048
_GOODBYE_SECONDS = 3


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`db` None: in memory. `port` 0: a free one."""

    host: str = "127.0.0.1"
    port: int = 9324
    db: str | None = None
    account: str = Setting().account
    region: str = Setting().region
    strict: bool = False
    test_clock: bool = False


def serve(options: Options, on_ready: Callable[[str], None]) -> None:
    """Until SIGINT or SIGTERM. `on_ready` hears the URL. Raises FnQueueError."""
    uvicorn = _uvicorn()
    engine = _engine(options)
    try:
        listener = _listen(options)
        with listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(uvicorn, options, engine, listener, on_ready))
    finally:
        engine.database.close()


def _engine(options: Options) -> Engine:
    clock = TurnableClock() if options.test_clock else SystemClock()
    # Waits end by the machine's time; a turned clock only moves what is due.
    database = Database(options.db, setting="--db")
    try:
        database.look()
        service = QueueService(database, clock=clock, strict=options.strict)
        schedules = ScheduleService(database, service, clock=clock, strict=options.strict)
        database.write(lambda connection: None)
    except BaseException:
        database.close()
        raise
    return Engine(database, service, schedules, clock)


async def _serve(
    uvicorn: Any, options: Options, engine: Engine, listener: socket.socket, on_ready: Callable[[str], None]
) -> None:
    origin = _origin(listener)
    setting = Setting(
        account=options.account,
        region=options.region,
        origin=origin,
        on_loopback=_is_on_loopback(listener) and not may_be_a_pages(options.host),
    )
    may_be_emptied = options.test_clock and options.db is None
    site = Site(engine, setting, (lambda: _engine(options)) if may_be_emptied else None)
    config = uvicorn.Config(
        site,
        interface="asgi3",  # it is not asked: `http` is ours
        http=_door(site).connection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # who sends rubbish is answered, not logged
    try:
        on_ready(f"http://{origin}")
        await _stopping(uvicorn, config, site).serve(sockets=[listener])
    finally:
        await site.close()


def _stopping(uvicorn: Any, config: Any, site: Site) -> Any:
    """A server whose long polls end when it is told to, and which then returns: uvicorn would raise the signal anew."""
    loop = asyncio.get_running_loop()

    class Server(uvicorn.Server):  # type: ignore[misc]
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit  # type: ignore[has-type] # told twice
            self.should_exit = True
            loop.call_soon_threadsafe(site.stop)

    return Server(config)


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        named = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        advice = "Name an address of this machine with --host." if named else "Name another --port."
        text = f"cannot listen on {options.host}:{options.port}: {error.strerror or error}. {advice}"
        raise FnQueueError(text) from error
    return listener


def _origin(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_on_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


# ------------------------------------------------------------------ what is installed


def _uvicorn() -> Any:
    try:
        import uvicorn
    except ImportError as error:
        raise ExtraMissing("uvicorn", "emulator") from error
    return uvicorn


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _door(site: Site) -> Any:
    try:
        from fnqueue.emulator.connection import Door
    except ImportError as error:
        raise ExtraMissing("httptools", "emulator") from error
    return Door(site)
