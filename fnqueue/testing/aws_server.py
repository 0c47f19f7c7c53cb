"""The emulator of a test run, as a process that cannot outlive it.

A process and not a thread: what tests do to their own (a frozen clock, patched sockets, gevent, a fork, a blocked
thread) does not reach it, and it takes no time from them. It ends when its standard input does, which nobody has to
remember: a test run that is killed closes it, too. A forked child may still hold that pipe, so it also looks who its
parent is.
`python -m fnqueue.testing.aws_server` is the process; `AwsServer` is whoever has started it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from typing import Any

from fnqueue.errors import FnQueueError

_START_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_FIRE_SECONDS = 300.0  # to turn the clock over a year of minutes fires half a million times
_END_SECONDS = 10.0
_LOOK_SECONDS = 1.0


class AwsServer:
    """Starts it on a free port of 127.0.0.1, with all in memory and a clock to turn. Raises FnQueueError.

    `host` is `127.0.0.1:PORT`. Not safe between threads.
    """

    def __init__(self, *, port: int = 0) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the process
        self._told = 0
        # A session of its own: ^C is for the tests, whose teardown may still want to speak to it. -P: no module of the
        # folder that the tests are run in may stand in the way of the standard library's.
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-P", "-m", "fnqueue.testing.aws_server", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self.pid = self._process.pid
        said = self._first_line()
        if not said.startswith("http://"):
            self._process.kill()
            self._process.wait()
            reason = self.log().strip() or f"it said nothing within {_START_SECONDS:.0f} s"
            self.end()
            raise FnQueueError(f"the emulator did not start: {reason}")
        self.host = said.removeprefix("http://")

    def ask(self, path: str, members: dict[str, Any]) -> Any:
        """What `POST path` answers. Raises OSError where nobody does."""
        connection = http.client.HTTPConnection(
            self.host, timeout=_FIRE_SECONDS if path == "/_clock" else _ANSWER_SECONDS
        )
        try:
            connection.request("POST", path, json.dumps(members))
            answer = connection.getresponse()
            said = json.loads(answer.read())
        except http.client.HTTPException as error:
            raise ConnectionError(f"the emulator broke off: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise FnQueueError(f"the emulator answered {path} with {answer.status}: {said.get('error')}")
        return said

    def log(self) -> str:
        """What it has logged since this was asked for the last time: nothing, when all is well."""
        number = self._log.fileno()
        new = os.pread(number, os.fstat(number).st_size - self._told, self._told)  # a seek would move where it writes
        self._told += len(new)
        return new.decode(errors="replace")

    def end(self) -> None:
        """May be called twice."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _first_line(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        return self._process.stdout.readline().decode(errors="replace").strip() if ready else ""


# ------------------------------------------------------------------ the process


def main(port: int) -> int:
    from fnqueue.emulator.server import Options, serve

    threading.Thread(target=_end_with_the_tests, args=(os.getppid(),), daemon=True).start()
    try:
        serve(Options(port=port, test_clock=True), lambda url: print(url, flush=True))
    except FnQueueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _end_with_the_tests(parent: int) -> None:
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], _LOOK_SECONDS)
        if ready and not os.read(0, 4096):
            break
    os._exit(0)  # all is in memory


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
