"""A real store, in a folder, that fails as it is told."""

from __future__ import annotations

import os
import threading

import attrs

from quantlab_collector.storage.objects import FaultKind, KeyTakenError, LocalObjects, StoreFault


@attrs.define
class Failing:
    """One way to fail."""

    operations: tuple[str, ...]
    among: str = ""
    """Only keys that hold this; ``!`` before it: only those that do not."""
    kind: FaultKind = FaultKind.TRANSIENT
    times: float = float("inf")
    """For each key."""
    applied: bool = False
    """It is done, and only the answer is lost."""
    taken: bool = False
    """A conflict (409): refused as taken, although nothing is there."""
    retry_after: float | None = None
    seen: dict = attrs.field(factory=dict)

    def strikes(self, operation, key):
        wanted = self.among.removeprefix("!") in key
        if operation not in self.operations or wanted == self.among.startswith("!"):
            return False
        self.seen[key] = self.seen.get(key, 0) + 1
        return self.seen[key] <= self.times

    def fault(self, key):
        if self.taken:
            return KeyTakenError(key)
        return StoreFault(f"told to fail: {self.kind}", self.kind, self.retry_after)


class Store(LocalObjects):
    """Every request is noted; some fail."""

    def __init__(self, root):
        super().__init__(root)
        self.requests = []
        self.failing = []
        self.renewals = 0
        self.overwrites_silently = False
        self.holds_up = None
        """An event: uploads of parts stand still until it is set."""
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def fail(self, *operations, **how):
        self.failing.append(Failing(operations, **how))
        return self.failing[-1]

    def mend(self):
        self.failing.clear()

    def keys(self, *operations, among=""):
        return [key for operation, key in self.requests if operation in operations and among in key]

    def _do(self, operation, key, work):
        with self._lock:
            self.requests.append((operation, key))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            failing = next((one for one in self.failing if one.strikes(operation, key)), None)
        try:
            if self.holds_up is not None and key.startswith("exchange="):
                self.holds_up.wait()
            if failing is None:
                return work()
            if failing.applied:
                work()
            raise failing.fault(key)
        finally:
            with self._lock:
                self._at_once -= 1

    def put(self, key, data):
        self._do("put", key, lambda: super(Store, self).put(key, data))

    def put_new(self, key, data):
        if self.overwrites_silently:
            self._do("put_new", key, lambda: super(Store, self).put(key, data))
        else:
            self._do("put_new", key, lambda: super(Store, self).put_new(key, data))

    def get(self, key):
        return self._do("get", key, lambda: super(Store, self).get(key))

    def head(self, key):
        return self._do("head", key, lambda: super(Store, self).head(key))

    def renew(self):
        self.renewals += 1

    def age(self, key, seconds):
        """Let an object be older than it is."""
        status = (self.root / key).stat()
        os.utime(self.root / key, ns=(status.st_atime_ns, status.st_mtime_ns - int(seconds * 1e9)))
