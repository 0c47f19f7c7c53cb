"""What an application's wiring makes once and keeps: its engine, its keys, and the rules of `state/` over its store.

The half of `Runtime` that knows no task and no pipe. All is made at first use, once per process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fnqueue.backends import Engine, blobs_place, connect, sqlite_path
from fnqueue.clock import Clock
from fnqueue.events import Events, KeysLoaded
from fnqueue.forks import ProcessLock, importing, made_once
from fnqueue.hooks import Hooks
from fnqueue.operating import Operating, OperatingRecords
from fnqueue.registry import Registry
from fnqueue.sealing import Sealing
from fnqueue.security.blobs.blobs import Blobs
from fnqueue.security.keyring import KeyRing
from fnqueue.security.keys import KeySource, key_source, memory_source
from fnqueue.settings import Settings
from fnqueue.state.control import Control, Seals
from fnqueue.state.dedupe import Dedupe
from fnqueue.state.parked import Parked
from fnqueue.state.replay import Replay
from fnqueue.state.results import Results

if TYPE_CHECKING:
    from fnqueue.audit.audit import Audit
    from fnqueue.audit.links import Links
    from fnqueue.state.schedules import KeptSchedules


class Keeping:
    """Its fields are `Runtime`'s."""

    settings: Settings
    registry: Registry
    hooks: Hooks
    clock: Clock
    events: Events
    keys_override: KeySource | None
    makes_files: bool
    _lock: ProcessLock
    _told_ring: KeyRing | None

    # ---------------------------------------------------------------- engines and keys

    @made_once
    def engine(self) -> Engine:
        self._make_folder()
        return connect(self.settings, self.clock)

    @made_once
    def keys(self) -> KeySource:
        if self.keys_override is not None:
            return self.keys_override
        settings = self.settings
        if settings.keys or settings.keys_file:
            return key_source(settings.keys, settings.keys_file, clock=self.clock)
        path = self.own_key_file()
        if path is None:
            return memory_source()
        self._make_folder()
        return key_source(None, path, clock=self.clock, create=self.makes_files)

    def own_key_file(self) -> str | None:
        """The key file beside the database, which first use makes. None: the settings say it, or nothing lasts."""
        path = sqlite_path(self.settings.url)
        if self.settings.keys or self.settings.keys_file or self.keys_override is not None or path is None:
            return None
        return os.path.join(os.path.dirname(path), "fnqueue.keys")

    def ring(self) -> KeyRing:
        ring = self.keys.ring()
        if ring is not self._told_ring:
            self._tell_keys(ring)
        return ring

    def _tell_keys(self, ring: KeyRing) -> None:
        before, self._told_ring = self._told_ring, ring
        keys = tuple(f"{record.state} {record.key_id}" for record in ring.records)
        if self.makes_files and (before is None or keys != tuple(f"{each.state} {each.key_id}" for each in before)):
            self.events.publish(KeysLoaded(keys=keys, again=before is not None))

    def _make_folder(self) -> None:
        own = self.hooks.own_folder
        if own is None or not self.makes_files:
            return
        paths = [sqlite_path(url) for url in (self.settings.url, self.settings.store_url) if url]
        if any(path is not None and os.path.dirname(path) == os.path.normpath(own) for path in paths):
            try:
                os.makedirs(own, exist_ok=True)
            except OSError:
                pass  # the database says what is wrong with the folder, and better

    # ---------------------------------------------------------------- state

    @property
    def sealing(self) -> Sealing:
        return Sealing(self.ring, self.settings.environment)

    @made_once
    def results(self) -> Results | None:
        store, sealing = self.engine.store, self.sealing
        if store is None:
            return None
        return Results(store, self.clock, sealing.seal_result, sealing.unseal_result, self.settings.environment)

    @made_once
    def replay(self) -> Replay | None:
        store, sealing = self.engine.store, self.sealing
        return Replay(store, self.clock, sealing.signs) if store else None

    @made_once
    def parked(self) -> Parked | None:
        return Parked(self.engine.store, self.clock, self.settings.environment) if self.engine.store else None

    @made_once
    def blobs(self) -> Blobs | None:
        """Where large arguments and results are kept. None: nowhere, and they are refused."""
        place = blobs_place(self.settings)
        return Blobs(place, self.clock) if place is not None else None

    @made_once
    def schedules(self) -> KeptSchedules | None:
        with importing():
            from fnqueue.state.schedules import KeptSchedules  # not at the top: few processes have to do with schedules

        store = self.engine.store
        if store is None:
            return None
        seal, unseal = self.sealing.seal_schedule, self.sealing.unseal_schedule
        return KeptSchedules(store, self.clock, self.settings.environment, seal, unseal)

    @made_once
    def dedupe(self) -> Dedupe | None:
        store, sealing = self.engine.store, self.sealing
        return Dedupe(store, self.clock, sealing.signs, self.settings.environment) if store else None

    @made_once
    def control(self) -> Control | None:
        store = self.engine.store
        if store is None:
            return None
        sealing = self.sealing
        seals = Seals(sealing.seal_revocation, sealing.unseal_revocation, sealing.name_revocation)
        return Control(store, self.clock, seals)

    @made_once
    def operating(self) -> Operating:
        records = OperatingRecords(self.control, self.results, self.parked)
        return Operating(self.registry, self.clock, records, lambda *said: self.audit.tell(*said))

    @made_once
    def audit(self) -> Audit:
        with importing():
            from fnqueue.audit.audit import Audit  # not at the top: most processes have nothing to tell
            from fnqueue.audit.files import Files

        folder, sealing = self.settings.audit_dir, self.sealing
        if folder is None or not self.makes_files:
            return Audit(self.clock)
        return Audit(self.clock, Files(folder, self.clock, sealing.audit_key_id, sealing.audit_mac), self.audit_links())

    def audit_links(self) -> Links | None:
        with importing():
            from fnqueue.audit.links import Links

        store, sealing = self.engine.store, self.sealing
        if store is None:
            return None
        environment = self.settings.environment
        return Links(store, self.clock, environment, sealing.audit_key_id, sealing.audit_mac, sealing.audit_holds)
