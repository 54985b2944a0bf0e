"""Reading the archive of raw frames that belongs to a recording: what it holds, and whether that is so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from quantlab_collector.contracts.layout import RAW_FRAMES, RawFile
from quantlab_collector.storage.intact import get_intact
from quantlab_collector.storage.objects import Objects
from quantlab_collector.storage.rawlog import RawManifest, decode_raw_manifest, read_archive


@attrs.frozen
class RawHolding:
    """What the archive has of one exchange, by its manifests."""

    exchange: str
    files: int
    frames: int
    dropped: int
    bytes: int
    ts_recv: tuple[int, int]


@attrs.frozen
class RawFound:
    """An archive as it was found."""

    manifests: tuple[tuple[RawFile, RawManifest], ...]
    files: frozenset[RawFile]
    """Those that are there, named by a manifest or not."""


def find_raw(objects: Objects) -> tuple[RawFound, list[str]]:
    """Everything of the archive, and what does not belong there or cannot be read."""
    found: list[tuple[RawFile, RawManifest]] = []
    files: set[RawFile] = set()
    problems: list[str] = []
    for key, _ in objects.list(RAW_FRAMES):
        try:
            file, is_manifest = RawFile.parse(key)
            if is_manifest:
                found.append((file, _manifest_of(file, objects.get(key))))
            else:
                files.add(file)
        except ValueError as fault:
            problems.append(f"{key}: not readable: {fault}")
    return RawFound(tuple(found), frozenset(files)), problems


def _manifest_of(file: RawFile, data: bytes) -> RawManifest:
    manifest = decode_raw_manifest(data)
    if manifest.key != file.key:
        raise ValueError(f"it is the manifest of {manifest.key}")
    return manifest


def summarise_raw(found: RawFound) -> tuple[RawHolding, ...]:
    """Add up what the manifests say, by exchange."""
    by_exchange: dict[str, list[RawManifest]] = {}
    for _, manifest in found.manifests:
        by_exchange.setdefault(manifest.exchange, []).append(manifest)
    return tuple(_holding(exchange, by_exchange[exchange]) for exchange in sorted(by_exchange))


def _holding(exchange: str, manifests: Sequence[RawManifest]) -> RawHolding:
    return RawHolding(
        exchange=exchange,
        files=len(manifests),
        frames=sum(manifest.frames for manifest in manifests),
        dropped=sum(manifest.dropped for manifest in manifests),
        bytes=sum(manifest.bytes for manifest in manifests),
        ts_recv=(min(manifest.ts_recv[0] for manifest in manifests), max(manifest.ts_recv[1] for manifest in manifests)),
    )


def verify_raw(objects: Objects, found: RawFound, looked_at: Callable[[str], None] = lambda _: None) -> list[str]:
    """Read everything that the manifests name, to the last frame; what is wrong, one line each."""
    problems = []
    for file, manifest in found.manifests:
        looked_at(file.key)
        if (problem := _broken(objects, manifest)) is not None:
            problems.append(f"{file.key}: {problem}")
    alone = found.files - {file for file, _ in found.manifests}
    return problems + [f"{key}: it has no manifest" for key in sorted(file.key for file in alone)]


def _broken(objects: Objects, manifest: RawManifest) -> str | None:
    try:
        data = get_intact(objects, manifest.key, manifest.bytes, manifest.sha256)
        frames = sum(1 for _ in read_archive(data))
    except ValueError as fault:
        return str(fault)
    return None if frames == manifest.frames else f"{frames} frames instead of {manifest.frames}"
