// The sections of the page, each from the answer of /page.json.
import { at, bytes, count, figures, fill, make, mark, moment, rate, say, span } from "/page/dom.js";

const SIGNS = { READY: "●", DEGRADED: "▲", OFFLINE: "○", ERROR: "✕" };
const SHOWN = 12;

let notices = [];
let showAll = false;

// By the clock of the collector: the one of this browser may be wrong.
const agoIn = ({ started_ts, uptime }) => (time) => span(uptime - (time - started_ts) / 1000);

export function drawState(data) {
  const { status, ready, instance, version, uptime } = data;
  at("state").dataset.state = status.state;
  say(at("state-sign"), SIGNS[status.state] ?? "?");
  say(at("state-name"), status.state);
  fill(at("reasons"), status.reasons.map((text, place) => ({ text, place })), (reason) => reason.place, () => make("li"), (item, { text }) => say(item, text));
  const verdict = ready.ready ? "recording, and data reaches the store" : `not ready: ${ready.reason}`;
  say(at("state-since"), `since ${moment(status.since)}, for ${agoIn(data)(Date.parse(status.since))}; ${verdict}`);
  say(at("who"), `instance ${instance} · version ${version} · up ${span(uptime)}`);
  document.title = `${SIGNS[status.state] ?? "?"} ${status.state} · quantlab-collector ${instance}`;
}

export function drawTiles({ metrics, status, storage }) {
  const total = Object.values(metrics.events_per_sec).reduce((sum, value) => sum + value, 0);
  const { drops_15m: drops, reconnects_15m: reconnects } = status.metrics;
  const queue = metrics.queue_utilization_pct;
  figures(at("tiles"), [
    ["Events per second", rate(total), "", `${count(metrics.total_events)} since the start`],
    ["Queue", `${queue.toFixed(1)} %`, queue > 80 ? "bad" : "", `${count(metrics.queue_size)} of ${count(metrics.queue_maxsize)}, peak ${count(metrics.queue_peak)}`],
    ["Lag to the store", span(storage.backlog.lag_seconds), storage.reaches_store ? "" : "bad", `${count(storage.pending_events)} events on their way`],
    ["Dropped, 15 min", count(drops), drops ? "bad" : "", `${metrics.effective_data_loss_rate_pct.toPrecision(2)} % lost in all`],
    ["Reconnects, 15 min", count(reconnects), reconnects ? "warn" : ""],
    ["Memory", `${Math.round(metrics.rss_mb)} MB`],
  ]);
}

export function drawAccount({ metrics: { identity } }) {
  const signs = { received: "", written: "=", pending: "+", dropped: "+", rejected: "+" };
  figures(at("account"), Object.keys(signs).map((term) => [term, count(identity[term]), term === "dropped" && identity.dropped ? "bad" : ""]));
  [...at("account").children].forEach((group, n) => { group.dataset.sign = Object.values(signs)[n]; });
  mark(at("account-verdict"), identity.holds ? "dim" : "bad");
  const sum = identity.written + identity.pending + identity.dropped + identity.rejected;
  say(at("account-verdict"), identity.holds ? "✓ The books balance." : `✕ The books do not balance: ${count(Math.abs(identity.received - sum))} events are unaccounted for.`);
}

const nameOf = (c) => `${c.exchange}/${c.connection}`;
const LABELS = ["", "State", "Since", "Last message", "Failed attempts", "Reconnects", "Messages"];

export function drawConnections(data) {
  const { connections } = data;
  const ago = agoIn(data);
  connections.sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  fill(at("connections"), connections, nameOf, (c) => {
    const row = make("tr");
    const name = make("th", "", nameOf(c));
    name.scope = "row";
    row.append(name);
    for (const label of LABELS.slice(1)) {
      const cell = make("td");
      cell.dataset.label = label;
      cell.append(make("span"));
      row.append(cell);
    }
    row.children[1].firstElementChild.append(make("span"), make("span", "why"));
    return row;
  }, (row, c) => {
    const [word, why] = row.children[1].firstElementChild.children;
    say(word, c.state);
    mark(word, c.state === "ACTIVE" ? "" : c.state === "ERROR" ? "bad" : "warn");
    say(why, c.reason);
    why.hidden = !c.reason;
    const quiet = c.last_message_ts === null ? "none yet" : `${ago(c.last_message_ts)} ago`;
    const texts = [c.since === null ? "–" : moment(c.since), quiet, count(c.attempts), count(c.reconnects), count(c.frames)];
    texts.forEach((text, n) => say(row.children[n + 2].firstElementChild, text));
  });
}

export function drawStorage(data) {
  const { storage } = data;
  const ago = agoIn(data);
  const trouble = [storage.obstacle && `${storage.obstacle.name}: ${storage.obstacle.text}`, storage.shipping_blocked, storage.storage_fault, storage.encode_fault];
  const told = trouble.filter(Boolean).join(" · ");
  say(at("store-verdict"), told ? `✕ ${told}` : "✓ The store takes what it is given.");
  mark(at("store-verdict"), told ? "bad" : "dim");
  const last = (time) => (time === null ? "not yet" : `${ago(time)} ago`);
  figures(at("storage"), [
    ["Last synced to the disk", last(storage.last_sync_ts)],
    ["Last committed to the store", last(storage.last_commit_ts)],
    ["Segment being written", `${count(storage.segment.rows)} rows, ${bytes(storage.segment.bytes)}`],
    ["Waiting for the store", `${count(storage.backlog.segments)} segments, ${bytes(storage.backlog.bytes)}`],
    ["Spool", `${bytes(storage.spool.bytes)} used`, "", `${bytes(storage.spool.disk_free)} free on its disk`],
    ["Uploads", `${count(storage.uploads.in_flight)} under way`, "", `at most ${storage.uploads.slots}; ${count(storage.uploads.failures)} failed so far`],
    ["Committed", `${count(storage.committed.segments)} segments, ${count(storage.committed.files)} files`],
  ]);
}

export function forgetNotices() {
  notices = [];
}

export function drawNotices(fresh) {
  notices = [...fresh.slice().reverse(), ...notices].slice(0, 200);
  at("notices-none").hidden = notices.length > 0;
  at("notices-more").hidden = showAll || notices.length <= SHOWN;
  list(at("notices"), showAll ? notices : notices.slice(0, SHOWN), (notice) => notice.number);
}

at("notices-more").addEventListener("click", () => {
  showAll = true;
  drawNotices([]);
});

// Lines with a time, a name and a text.
export function list(parent, lines, keyOf) {
  fill(parent, lines, keyOf, () => {
    const item = make("li");
    item.append(make("time"), make("span", "event"), make("span", "text"));
    return item;
  }, (item, line) => {
    mark(item, line.level);
    const [time, event, text] = item.children;
    say(time, moment(line.ts));
    say(event, line.event);
    say(text, line.text);
  });
}
