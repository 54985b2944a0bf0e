"""What a keyboard and a screen reader need, and contrast: the basics, looked up in the living page."""

from __future__ import annotations

import time

import pytest

from page.conftest import BBO, TRADE
from page.test_live_page import LIVE
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.notices import SubscribeRefused

FAULTS = """(() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const name = (e) => (e.getAttribute('aria-label') || (e.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean)
    .map((id) => document.getElementById(id)?.textContent ?? '').join(' ') || e.labels?.[0]?.textContent || e.textContent || '').trim();
  if (!document.documentElement.lang) faults.push('no language');
  if (!document.title) faults.push('no title');
  for (const tag of ['header', 'main', 'footer', 'h1']) if (all(tag).length !== 1) faults.push(`not one ${tag}`);
  all('a, button, input, [tabindex], section, [role=img], table').filter((e) => !name(e) && e.tagName !== 'TABLE').forEach((e) => faults.push(`no name: ${e.outerHTML}`));
  let level = 0;
  for (const heading of all('h1, h2, h3, h4')) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) faults.push(`after h${level} comes ${heading.textContent}`);
    level = now;
  }
  const ids = all('[id]').map((e) => e.id);
  ids.filter((id, n) => ids.indexOf(id) !== n).forEach((id) => faults.push(`twice: ${id}`));
  all('[aria-labelledby]').flatMap((e) => e.getAttribute('aria-labelledby').split(' ')).filter((id) => !document.getElementById(id)).forEach((id) => faults.push(`points to nothing: ${id}`));
  all('table').forEach((t) => { if (!t.querySelector('thead th[scope=col]') || !t.querySelector('tbody th[scope=row]')) faults.push('a table without headers'); });
  all('dl > div').forEach((d) => { if (d.firstElementChild.tagName !== 'DT' || d.lastElementChild.tagName !== 'DD') faults.push('a figure without its term'); });
  if (!document.querySelector('[aria-live=polite] #state-name')) faults.push('the state is not told');
  if (all('[aria-live=assertive]').length) faults.push('it interrupts');
  return faults;
})()"""

# WCAG: the ratio of every text to what is behind it; AA wants 4.5.
DIM_TEXTS = """(() => {
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, n) => s + v * [0.2126, 0.7152, 0.0722][n], 0);
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = colour(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = {};
  let seen = 0;
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest('noscript')) continue;
    seen++;
    const [a, b] = [light(colour(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found[e.className || e.tagName] = ratio.toFixed(2);
  }
  return { seen, found };
})()"""


@pytest.fixture
async def troubled(service):
    """A service with something of everything to show."""
    service.connection.refused = {"binance/bbo/ETHUSDT": "Invalid symbol."}
    del service.connection.seen[BBO]["ETHUSDT"]
    service.connection.seen[TRADE]["BTCUSDT"] -= 3600 * 10**9
    service.state.writer.storage_fault = "auth: the keys are refused"
    for number in range(15):
        service.notices.tell(SubscribeRefused("binance", "public-0", str(number), number, "no"))
    return service


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_texts_can_be_read(page, troubled, scheme):
    await page.look_like(scheme=scheme)
    await page.open(troubled.url)
    await page.until(LIVE)

    contrast = await page.run(DIM_TEXTS)
    assert contrast["seen"] > 60
    assert contrast["found"] == {}

    troubled.connection.lifecycle.move(State.RECONNECTING, time.time_ns(), "lost")
    await page.until("document.querySelector('#grid .down') !== null")
    await page.until("document.getElementById('state-name').textContent === 'OFFLINE'")
    assert (await page.run(DIM_TEXTS))["found"] == {}


async def test_nothing_lacks_a_name_and_headings_are_in_order(page, troubled):
    await page.open(troubled.url)
    await page.until(LIVE)

    assert await page.run(FAULTS) == []


async def test_the_checks_find_faults(page, troubled):
    await page.open(troubled.url)
    await page.until(LIVE)
    await page.run(
        "(() => { const e = (t, c) => { const n = document.createElement(t); n.className = c; return document.querySelector('main').appendChild(n); };"
        "e('button', ''); e('h4', '').textContent = 'deep'; e('table', ''); const p = e('p', 'pale'); p.textContent = 'pale';"
        "p.style.color = 'rgb(200, 200, 200)'; p.style.backgroundColor = 'white'; })()"
    )

    assert len(await page.run(FAULTS)) == 3
    assert list((await page.run(DIM_TEXTS))["found"]) == ["pale"]


async def test_the_keyboard_reaches_what_can_be_used(page, troubled):
    await page.open(troubled.url)
    await page.until(LIVE)
    reached = []
    for _ in range(4):
        for kind in ("keyDown", "keyUp"):
            await page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(await page.run("document.activeElement.textContent.slice(0, 10) || document.activeElement.id"))

    assert reached[0] == "Skip to th"
    assert "Show older" in reached
    assert await page.run("document.querySelectorAll('#notices li').length") == 12
    await page.run("document.getElementById('notices-more').click()")
    assert await page.run("document.querySelectorAll('#notices li').length") >= 15


async def test_nothing_moves_for_who_wants_it_still(page, troubled):
    for motion, moves in (("reduce", False), ("no-preference", True)):
        await page.look_like(motion=motion)
        await page.open(troubled.url)
        await page.until(LIVE)
        assert (await page.run("getComputedStyle(document.querySelector('main')).transitionDuration") != "0s") is moves
