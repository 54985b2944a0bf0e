// Asks, draws, waits. It asks every other second, less often while nobody looks or nobody answers, and one request at a time.
import { drawRates } from "/page/chart.js";
import { at, mark, moment, say } from "/page/dom.js";
import { drawGrid } from "/page/grid.js";
import { drawLosses, openTroubles } from "/page/losses.js";
import { drawAccount, drawConnections, drawNotices, drawState, drawStorage, drawTiles, forgetNotices } from "/page/sections.js";

const EVERY = 2000;
const HIDDEN = 30000;
const LONGEST = 15000;
const LIMIT = 8000;
const LOSSES_EVERY = 2; // polls

let started = null;
let lastNotice = 0;
let failures = 0;
let polls = 0;
let answeredAt = null;
let shown = null;
let troubles = new Map();
let timer = null;
let asking = false;

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(LIMIT) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function look() {
  let data = await ask(`/page.json?after=${lastNotice}`);
  if (data.started_ts !== started) {
    // Another process: its notices count from one again.
    if (started !== null) data = await ask("/page.json");
    started = data.started_ts;
    lastNotice = 0;
    polls = 0;
    troubles = new Map();
    forgetNotices();
  }
  if (data.endpoints.includes("/gaps") && polls++ % LOSSES_EVERY === 0) {
    const losses = await ask("/gaps");
    troubles = openTroubles(losses);
    drawLosses(losses);
  }
  lastNotice = data.notices.at(-1)?.number ?? lastNotice;
  return data;
}

function draw(data, fresh) {
  drawState(data);
  drawTiles(data);
  drawRates(data);
  drawAccount(data);
  drawGrid(data, troubles);
  drawConnections(data);
  drawStorage(data);
  drawNotices(fresh);
}

function reached() {
  failures = 0;
  answeredAt = Date.now();
  say(at("reach"), "live");
  mark(at("reach"), "");
  mark(at("main"), "");
}

function lost() {
  failures++;
  const since = answeredAt === null ? "Not reachable." : `Not reachable since ${moment(answeredAt)}.`;
  say(at("reach"), `${since} What is shown is old.`);
  mark(at("reach"), "lost");
  mark(at("main"), "stale");
  document.title = "✕ not reachable · quantlab-collector";
}

async function poll() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    const data = await look().catch(() => null);
    if (data === null) {
      lost();
    } else {
      reached();
      shown = data;
      draw(data, data.notices);
    }
  } finally {
    asking = false;
    const wait = document.hidden ? HIDDEN : Math.min(LONGEST, EVERY * 2 ** Math.min(failures, 4));
    timer = setTimeout(poll, wait);
  }
}

document.addEventListener("visibilitychange", () => document.hidden || poll());
at("only-trouble").addEventListener("change", () => shown && draw(shown, []));
poll();
