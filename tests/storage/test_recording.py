"""What manifests say is missing, added up."""

from __future__ import annotations

import msgspec

from contracts.test_manifest import MANIFEST
from quantlab_collector.contracts.manifest import Downtime, Gap, Mute, Silence, decode_manifest, encode_manifest
from quantlab_collector.reports import summary_as_json, summary_tables
from quantlab_collector.storage.recording import Committed, summarise


def told(number: int, **changes: object) -> Committed:
    """A manifest without parts, as it is read back."""
    manifest = msgspec.structs.replace(MANIFEST, segment=f"1767280498692-{number:06}", parts=(), gaps=(), **changes)
    data = encode_manifest(manifest)
    return Committed(f"_manifests/{number}.json", data, decode_manifest(data))


def mute(symbol: str, since: int, to: int | None) -> Mute:
    return Mute("okx", "public-0", "bbo", symbol, since, to, "stopped")


def test_what_is_told_again_until_it_has_ended_counts_once() -> None:
    silence = Silence("okx", "public-0", "mark_price", "BTCUSDT", 5, 9, 10.0)
    summary = summarise(
        [
            told(1, mutes=(mute("AUSDT", 1, None), mute("BUSDT", 2, None)), downtime=Downtime(1, 2)),
            told(2, mutes=(mute("AUSDT", 1, 4), mute("BUSDT", 2, None))),
            told(3, mutes=(mute("AUSDT", 7, None), mute("BUSDT", 2, None)), silences=(silence,)),
        ]
    )

    assert summary.mutes == (mute("AUSDT", 1, 4), mute("BUSDT", 2, None), mute("AUSDT", 7, None))
    assert summary.silences == (silence,)
    assert summary.downtimes == (Downtime(1, 2),)


def test_a_person_and_a_machine_are_shown_all_of_it() -> None:
    hole = Gap("binance", "market-0", 1, 2, "numbers are missing", "trade", "BTCUSDT", 7)
    silence = Silence("okx", "public-0", "mark_price", "BTCUSDT", 5, None, 10.0)
    manifest = msgspec.structs.replace(
        told(1).manifest, gaps=(hole,), mutes=(mute("AUSDT", 1, None),), silences=(silence,), downtime=Downtime(1, 2_000_000_001)
    )
    summary = summarise([Committed("k", b"", manifest)])

    tables = {
        str(table.title): list(zip(*(column.cells for column in table.columns), strict=True)) for table in summary_tables(summary)
    }
    clock = "00:00:00.000"
    assert tables["gaps"] == [("binance", "market-0", "trade", "BTCUSDT", clock, clock, "7", "numbers are missing")]
    assert tables["mutes"] == [("okx", "public-0", "bbo", "AUSDT", clock, "not ended", "stopped")]
    assert tables["silences"] == [("okx", "public-0", "mark_price", "BTCUSDT", clock, "not ended", "10 s")]
    assert tables["nobody recorded"] == [(clock, "00:00:02.000", "2.0")]
    shown = summary_as_json(summary, [], verified=False)
    assert shown["gaps"][0]["missed"] == 7
    assert shown["mutes"][0]["symbol"] == "AUSDT"
    assert shown["silences"][0]["expected"] == 10.0
    assert shown["downtimes"] == ({"since": 1, "to": 2_000_000_001},)


def test_what_is_fine_is_not_mentioned() -> None:
    assert [str(table.title) for table in summary_tables(summarise([]))] == ["recorded"]
