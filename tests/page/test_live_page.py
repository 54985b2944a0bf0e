"""The page in a real browser: what it shows, how soon, and that nothing of the wire is more than text in it."""

from __future__ import annotations

import json
import time

import pytest

from page.conftest import BBO, MARK, MINUTE_NS, TRADE, Service
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.notices import SubscribeRefused
from quantlab_collector.status.assets import page_files

LIVE = "document.getElementById('reach').textContent === 'live'"
STATE = "document.getElementById('state-name').textContent"


def text_of(selector):
    return f"document.querySelector({selector!r}).textContent"


def figure(term):
    """The value beside a term, wherever it stands."""
    return f"[...document.querySelectorAll('dt')].find(e => e.textContent === {term!r}).nextElementSibling.firstElementChild.textContent"


def cell(symbol, column, exchange="binance"):
    """Class and text of a cell of the grid, columns counted as they stand."""
    row = f"[...document.querySelectorAll('[aria-labelledby=grid-{exchange}] tbody tr')].find(r => r.firstElementChild.textContent === {symbol!r})"
    return f"(c => c.className + '|' + c.textContent)({row}.children[{column}].firstElementChild)"


async def test_it_shows_everything_and_complains_of_nothing(page, service):
    service.state.books.buffer("binance", BBO, 2)
    await page.open(service.url)
    await page.until(LIVE)
    await page.until(f"{STATE} === 'READY'")

    assert await page.run(figure("received")) == "6"
    assert await page.run(text_of("#account-verdict")) == "✓ The books balance."
    assert await page.run("document.querySelectorAll('#rates li svg').length") == 3
    await page.until("document.querySelector('#rates path.line').getAttribute('d').includes('L')")
    assert await page.run(text_of("#connections th")) == "binance/public-0"
    assert await page.run(text_of("#connections td")) == "ACTIVE"
    assert (await page.run("document.title")).startswith("● READY")
    assert page.complaints == []
    asked = {url.removeprefix(service.url).partition("?")[0] for url in page.requests}
    assert asked >= {"/page.json", *(path for path, _, _ in page_files())}
    assert asked <= {"/page.json", "/gaps", *(path for path, _, _ in page_files())}


def test_it_is_small():
    files = page_files()
    assert {path for path, _, _ in files} >= {"/", "/page/page.js", "/page/page.css", "/page/icon.svg"}
    assert sum(len(content) for _, content, _ in files) < 60_000


async def test_what_changes_is_shown_within_seconds(page, service):
    await page.open(service.url)
    await page.until(LIVE)

    service.state.books.receive("binance", TRADE, kept=1000, dropped=7, reason="queue_full")
    await page.until(f"{figure('received')} === '1,013'")
    await page.until(f"{figure('dropped')} === '7'")
    await page.until(f"{STATE} === 'DEGRADED'")
    assert "7 events dropped in the last 15 minutes" in await page.run(text_of("#reasons"))
    await page.until(text_of("#notices") + ".includes('state_change')")
    assert page.complaints == []


async def test_a_topic_that_never_delivers_stands_out(page):
    service = Service()
    service.connect(ago_ns=MINUTE_NS)
    mute = Topic("binance", MARK, "ETHUSDT")
    quiet = Topic("binance", TRADE, "ETHUSDT")
    service.deliver(*(topic for topic in service.topics if topic not in (mute, quiet)))
    async with service.serving():
        await page.open(service.url)
        await page.until(LIVE)

        assert await page.run(cell("ETHUSDT", 3)) == "cell nothing|none"
        assert await page.run(cell("ETHUSDT", 2)) == "cell waiting|…"  # nobody has to trade
        assert (await page.run(cell("BTCUSDT", 3))).startswith("cell fresh|")
        assert await page.run(text_of("#grid .sum")) == "6 topics, 1 need a look"
        red, calm = [
            await page.run(f"getComputedStyle(document.querySelector('#grid .{kind}')).backgroundColor")
            for kind in ("nothing", "fresh")
        ]
        assert red != calm

        service.deliver(mute)
        await page.until(f"{cell('ETHUSDT', 3)}.startsWith('cell fresh|')")


async def test_ages_are_by_the_clock_of_the_collector(page, service):
    """The browser's may be an hour off."""
    await page.call(
        "Page.addScriptToEvaluateOnNewDocument", source="const right = Date.now; Date.now = () => right() + 3_600_000;"
    )
    service.connection.last_frame_ns -= 20 * 10**9
    await page.open(service.url)
    await page.until(LIVE)

    quiet = await page.run("document.querySelector('#connections td[data-label=\"Last message\"]').textContent")
    assert 20 <= int(quiet.removesuffix(" s ago")) < 60


async def test_a_topic_that_falls_silent_ages(page, service):
    for topic in service.topics:
        service.connection.seen[topic.stream][topic.symbol] -= 20 * MINUTE_NS
    service.deliver(Topic("binance", BBO, "BTCUSDT"))
    await page.open(service.url)
    await page.until(LIVE)

    assert await page.run(cell("ETHUSDT", 1)) == "cell old|! 20 m"
    assert (await page.run(cell("BTCUSDT", 1))).startswith("cell fresh|")


async def test_a_connection_that_is_down_and_a_topic_that_was_refused(page, service):
    service.connection.refused = {"binance/bbo/ETHUSDT": "Invalid symbol."}
    del service.connection.seen[BBO]["ETHUSDT"]
    await page.open(service.url)
    await page.until(LIVE)
    assert await page.run(cell("ETHUSDT", 1)) == "cell refused|ref."

    service.connection.attempts = 4
    service.connection.lifecycle.move(State.RECONNECTING, time.time_ns(), "closed by the peer")
    await page.until(f"{cell('BTCUSDT', 1)} === 'cell down|down'")
    assert await page.run(text_of("#connections td")) == "RECONNECTINGclosed by the peer"
    assert await page.run("document.querySelector('#connections td[data-label=\"Failed attempts\"]').textContent") == "4"
    await page.until(f"{STATE} === 'OFFLINE'")


def delivering(instance):
    service = Service(instance=instance)
    service.connect()
    service.deliver()
    return service


async def test_it_survives_the_service_stopping_and_starting_again(page):
    first = delivering("first")
    first.notices.tell(SubscribeRefused("binance", "public-0", "x", 1, "from the first"))
    await page.hurry()
    async with first.serving():
        await page.open(first.url)
        await page.until(LIVE)
        await page.until(text_of("#notices") + ".includes('from the first')")
        assert page.complaints == []
    await page.until(text_of("#reach") + ".startsWith('Not reachable since')")
    assert await page.run("document.getElementById('main').className") == "stale"
    assert (await page.run("document.title")).startswith("✕ not reachable")
    assert await page.run(figure("received")) == "6", "what was last known stays"

    second = delivering("second")
    second.notices.tell(SubscribeRefused("binance", "public-0", "x", 1, "from the second"))
    async with second.serving(port=int(first.url.rpartition(":")[2])):
        await page.until(LIVE, limit=20)
        await page.until(text_of("#who") + ".includes('second')")
        assert await page.run("document.getElementById('main').className") == ""
        notices = await page.run(text_of("#notices"))
        assert "from the second" in notices
        assert "from the first" not in notices
    # The browser itself notes every request that nobody answered; nothing else may be there.
    assert [c for c in page.complaints if "net::ERR" not in c] == []


HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "javascript:alert(1)",
    "\u202eabc\u202c {{7*7}} ${document.title}",
    "x" * 300,
)


@pytest.mark.parametrize("width", [380, 320, 1280])
async def test_what_a_peer_writes_is_text_and_breaks_no_layout(page, width):
    service = Service(symbols=("BTCUSDT", "1000000BABYDOGEUSDT_250328"))
    service.connect()
    service.deliver()
    for number, text in enumerate(HOSTILE):
        service.notices.tell(SubscribeRefused("binance", "public-0", text, number, text))
    service.connection.lifecycle.move(State.RECONNECTING, time.time_ns(), " ".join(HOSTILE))
    service.state.writer.storage_fault = f"config: {HOSTILE[0]} {HOSTILE[4]}"
    service.state.fatal = HOSTILE[1]
    service.state.books.receive("binance", BBO, kept=10**12, dropped=10**12, reason="queue_full")
    async with service.serving():
        await page.look_like(width=width)
        await page.open(service.url)
        await page.until(LIVE)
        await page.until(f"{STATE} === 'ERROR'")

        assert await page.run("document.documentElement.scrollWidth") <= width
        notices = await page.run(text_of("#notices"))
        assert HOSTILE[0] in notices
        assert HOSTILE[1] in notices
        assert HOSTILE[1] in await page.run(text_of("#reasons"))
        assert await page.run("document.querySelectorAll('img').length") == 0
        assert await page.run("document.querySelectorAll('body script').length") == 0
        assert "owned" not in await page.run("document.title")
        assert page.complaints == []


async def test_the_browser_itself_would_take_no_markup(page, service):
    """If a later change put data into innerHTML, the policy would stop it."""
    await page.open(service.url)
    await page.until(LIVE)

    refused = await page.run("(() => { try { document.body.innerHTML = '<b>x</b>' } catch (e) { return e.name } })()")

    assert refused == "TypeError"


async def test_it_asks_every_other_second_and_less_when_nobody_looks_or_answers(page):
    service = delivering("a")
    await page.hurry()
    async with service.serving():
        await page.open(service.url)
        await page.until(LIVE)
        await page.until("waits.length > 5")
        assert set(await page.run("waits")) == {2000}

        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))"
        await page.run(hide % "true")
        await page.until("waits.at(-1) === 30000")
        asked = await page.run("waits.length")
        await page.run(hide % "false")
        await page.until(f"waits.length > {asked}")  # at once, not when the half minute is over
        await page.until("waits.at(-1) === 2000")
        await page.run("waits.length = 0")
    await page.until("waits.at(-1) === 15000")
    assert await page.run("waits.filter((wait) => wait > 2000).slice(0, 3)") == [4000, 8000, 15000]
    async with service.serving(port=int(service.url.rpartition(":")[2])):
        await page.until(LIVE)
        await page.until("waits.at(-1) === 2000")


async def test_a_thousand_symbols_stay_readable(page):
    service = Service(symbols=tuple(f"COIN{n:04d}USDT" for n in range(1000)))
    service.connect(ago_ns=MINUTE_NS)
    service.deliver(*(topic for topic in service.topics if topic != Topic("binance", BBO, "COIN0777USDT")))
    async with service.serving():
        await page.open(service.url)
        await page.until(LIVE)
        assert await page.run("document.querySelectorAll('#grid tbody tr').length") == 1000

        await page.run("document.getElementById('only-trouble').click()")
        assert await page.run("[...document.querySelectorAll('#grid tbody th')].map(e => e.textContent).join()") == "COIN0777USDT"
        assert await page.run(text_of("#grid .sum")) == "3,000 topics, 1 need a look"
        assert page.complaints == []


LOSSES = {
    "mutes": [
        {"exchange": "binance", "connection": "public-0", "stream": "mark_price", "symbol": "ETHUSDT", "since": "2026-01-01T10:00:00+00:00", "to": None, "reason": "nothing came"},
    ],
    "gaps": [
        {"exchange": "binance", "connection": "public-0", "stream": "trade", "symbol": "BTCUSDT", "since": "2026-01-01T09:00:00+00:00", "to": "2026-01-01T09:00:02+00:00", "reason": "<b>hole</b>", "missed": 7},
    ],
    "silences": [
        {"exchange": "binance", "connection": "public-0", "stream": "bbo", "symbol": "BTCUSDT", "since": "2026-01-01T08:00:00+00:00", "to": None},
    ],
    "totals": {},
}  # fmt: skip


async def test_gaps_mutes_and_silences_are_shown(page, service):
    await page.open(service.url)
    await page.until(LIVE)

    shown = await page.run(
        f"""(async () => {{
            const [losses, grid, data] = [await import('/page/losses.js'), await import('/page/grid.js'), await (await fetch('/page.json')).json()];
            const answer = {json.dumps(LOSSES)};
            losses.drawLosses(answer);
            grid.drawGrid(data, losses.openTroubles(answer));
            return [{cell("ETHUSDT", 3)}, {cell("BTCUSDT", 1)}, {cell("BTCUSDT", 2)},
                [...document.querySelectorAll('#losses-list li')].map((e) => e.children[1].textContent + ' ' + e.children[2].textContent),
                document.getElementById('losses').checkVisibility()];
        }})()"""
    )

    assert shown[0] == "cell mute|mute"
    assert shown[1] == "cell old|silent"
    assert shown[2].startswith("cell fresh|")
    assert [line.partition(" until")[0] for line in shown[3]] == [
        "mute binance/public-0/mark_price/ETHUSDT: open: nothing came",
        "silence binance/public-0/bbo/BTCUSDT: open",
        "gap binance/public-0/trade/BTCUSDT:",
    ]
    assert "2 s, 7 missed: <b>hole</b>" in shown[3][2]
    assert shown[4] is True
    assert page.complaints == []
