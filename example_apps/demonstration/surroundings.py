"""What a demonstration on an SQS server needs in its environment: a key, patience, and some credentials."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def sqs_surroundings(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """`environment`, and what is missing in it where FNQUEUE_URL is an SQS url."""
    url = urlsplit(environment.get("FNQUEUE_URL", ""))
    if url.scheme == "sqs":
        environment.setdefault("FNQUEUE_WAIT_TIME_SECONDS", "2")  # a worker told to stop ends its long poll first
        if not environment.get("FNQUEUE_KEYS") and not environment.get("FNQUEUE_KEYS_FILE"):
            environment["FNQUEUE_KEYS_FILE"] = _new_key(environment, folder)  # on SQLite fnqueue makes one itself
        endpoint = urlsplit(parse_qs(url.query).get("endpoint", [""])[0]).hostname
        if endpoint in ("127.0.0.1", "localhost", "::1"):  # a stand-in for SQS: any credentials do
            environment.setdefault("AWS_ACCESS_KEY_ID", "demo")
            environment.setdefault("AWS_SECRET_ACCESS_KEY", "demo")
    return environment


def _new_key(environment: dict[str, str], folder: Path) -> str:
    path = str(folder / "fnqueue.keys")
    command = [sys.executable, "-m", "fnqueue", "keys", "new", "--file", path]
    subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=True)
    return path
