// Gaps, mutes and silences, from a collector that tells them.
import { at, moment, span } from "/page/dom.js";
import { list } from "/page/sections.js";

const KINDS = { mutes: "mute", gaps: "gap", silences: "silence" };
const isOpen = (loss) => loss.to === null || loss.to === undefined;
const millis = (time) => (typeof time === "number" ? (time > 1e15 ? time / 1e6 : time) : Date.parse(time));

// What is open comes first, then the newest.
export function drawLosses(answer) {
  const lines = Object.entries(KINDS).flatMap(([key, kind]) => (answer[key] ?? []).map((loss) => ({ loss, kind, ts: millis(loss.since) })));
  lines.sort((a, b) => isOpen(b.loss) - isOpen(a.loss) || b.ts - a.ts);
  const shown = lines.slice(0, 20).map(({ loss, kind, ts }) => {
    const name = [loss.exchange, loss.connection, loss.stream, loss.symbol].filter(Boolean).join("/");
    const lasted = isOpen(loss) ? "open" : `until ${moment(millis(loss.to))}, ${span((millis(loss.to) - ts) / 1000)}`;
    const missed = loss.missed ? `, ${loss.missed} missed` : "";
    return { ts, event: kind, level: isOpen(loss) ? "error" : "warning", text: `${name}: ${lasted}${missed}${loss.reason ? `: ${loss.reason}` : ""}` };
  });
  at("losses").hidden = false;
  at("losses-none").hidden = shown.length > 0;
  list(at("losses-list"), shown, (line) => `${line.event} ${line.ts} ${line.text}`);
}

// What the grid says of a topic instead of its age; a mute is worse than a silence.
export const openTroubles = (answer) =>
  new Map([["silent", answer.silences], ["mute", answer.mutes]].flatMap(([word, losses]) =>
    (losses ?? []).filter(isOpen).map((loss) => [`${loss.exchange}/${loss.stream}/${loss.symbol}`, word])));
