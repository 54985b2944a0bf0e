// Events per second: for each stream its rate now, and a line of the last 15 minutes on a scale of its own.
import { at, fill, make, mark, rate, say } from "/page/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 48;
const ORDER = ["bbo", "trade", "mark_price", "funding", "open_interest"];
const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);

function create(stream) {
  const item = make("li");
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("role", "img");
  for (const kind of ["area", "line"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    drawing.append(path);
  }
  const scale = make("span", "scale");
  scale.append(make("span", "", "15 min ago"), make("span"), make("span", "", "now"));
  item.append(make("span", "", stream.name), make("span", "rate"), drawing, scale);
  return item;
}

function draw(item, { name, now, points, peak }) {
  const [, figure, drawing, scale] = item.children;
  say(figure, `${rate(now)} /s`);
  mark(figure, now > 0 ? "rate" : "rate dim");
  const path = points.map(([x, y]) => `${(x * WIDTH).toFixed(1)} ${(HEIGHT - 2 - y * (HEIGHT - 4)).toFixed(1)}`);
  const line = path.length > 1 ? `M${path.join("L")}` : "";
  drawing.children[0].setAttribute("d", line && `${line}V${HEIGHT}H${(points[0][0] * WIDTH).toFixed(1)}Z`);
  drawing.children[1].setAttribute("d", line);
  const words = `peak ${rate(peak)} /s`;
  drawing.setAttribute("aria-label", `${name}: ${rate(now)} events per second now, ${words} in the last 15 minutes`);
  say(scale.children[1], words);
}

export function drawRates({ uptime, history, metrics }) {
  const names = new Set([...Object.keys(metrics.events_per_sec), ...Object.keys(history.events_per_sec)]);
  const streams = [...names].sort((a, b) => place(a) - place(b)).map((name) => {
    const series = history.events_per_sec[name] ?? [];
    const peak = Math.max(0, ...series);
    const points = series.map((value, n) => [Math.max(0, 1 - (uptime - history.at[n]) / history.span), peak ? value / peak : 0]);
    return { name, now: metrics.events_per_sec[name] ?? 0, points, peak };
  });
  fill(at("rates"), streams, (stream) => stream.name, create, draw);
}
