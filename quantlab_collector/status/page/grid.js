// Exchange × symbol × stream, by freshness. A number is the milliseconds since something came; a word says why there is none.
import { at, count, fill, make, mark, say } from "/page/dom.js";

const SHORT = { bbo: "bbo", trade: "trade", mark_price: "mark", funding: "fund.", open_interest: "OI" };
// Up to when a stream is fresh, and up to when merely quiet; seconds.
const PACE = { bbo: [5, 60], mark_price: [5, 60], trade: [60, 900], funding: [120, 900], open_interest: [120, 900] };
const WORDS = {
  waiting: ["waiting", "…", "waiting for the first message"],
  nothing: ["nothing", "none", "subscribed, and nothing ever came"],
  mute: ["mute", "mute", "muted: it should deliver and does not"],
  silent: ["old", "silent", "silent"],
  refused: ["refused", "ref.", "refused by the exchange"],
  down: ["down", "down", "the connection is down"],
};
const TROUBLE = new Set(["nothing", "mute", "old", "refused", "down"]);
const MANY = 40;

function age(ms) {
  const seconds = ms / 1000;
  if (seconds < 1.5) return "now";
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} m` : `${Math.round(seconds / 3600)} h`;
}

// Class, text, and the sentence for a pointer or a screen reader.
function judge(cell, stream) {
  if (cell === null) return ["absent", "·", "not recorded"];
  if (typeof cell !== "number") return WORDS[cell] ?? ["old", cell, cell];
  const [fresh, quiet] = PACE[stream] ?? [60, 900];
  const text = age(cell);
  if (cell < fresh * 1000) return ["fresh", text, `last message ${ago(text)}`];
  if (cell < quiet * 1000) return ["quiet-cell", text, `quiet, last message ${ago(text)}`];
  return ["old", `! ${text}`, `old, last message ${ago(text)}`];
}

const ago = (text) => (text === "now" ? "just now" : `${text} ago`);

function createTable({ exchange, streams }) {
  const block = make("div");
  const table = make("table");
  const title = make("h3", "", exchange);
  title.id = `grid-${exchange}`;
  table.setAttribute("aria-labelledby", title.id);
  const head = make("tr");
  const corner = make("th", "", "symbol");
  corner.scope = "col";
  head.append(corner);
  for (const stream of streams) {
    const column = make("th", "", SHORT[stream] ?? stream);
    column.scope = "col";
    column.title = stream;
    head.append(column);
  }
  const top = make("thead");
  top.append(head);
  table.append(top, make("tbody"));
  const scroll = make("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-labelledby", title.id);
  scroll.append(table);
  block.append(title, make("p", "dim sum"), scroll);
  return block;
}

function createRow({ symbol, judged }) {
  const row = make("tr");
  const name = make("th", "", symbol);
  name.scope = "row";
  row.append(name);
  for (const _ of judged) {
    const place = make("td");
    place.append(make("span"));
    row.append(place);
  }
  return row;
}

function drawRow(row, { judged }) {
  judged.forEach(([kind, text, sentence], n) => {
    const cell = row.children[n + 1].firstElementChild;
    mark(cell, `cell ${kind}`);
    say(cell, text);
    if (cell.title !== sentence) cell.title = sentence;
  });
}

function drawTable(block, { exchange, rows }, onlyTrouble) {
  const kinds = rows.flatMap((row) => row.judged.map(([kind]) => kind)).filter((kind) => kind !== "absent");
  const troubled = kinds.filter((kind) => TROUBLE.has(kind)).length;
  say(block.children[1], `${count(kinds.length)} topics, ${troubled ? `${count(troubled)} need a look` : "all well"}`);
  mark(block.children[1], troubled ? "sum warn" : "dim sum");
  const shown = onlyTrouble ? rows.filter((row) => row.judged.some(([kind]) => TROUBLE.has(kind))) : rows;
  fill(block.querySelector("tbody"), shown, (row) => row.symbol, createRow, drawRow);
}

export function drawGrid({ grid }, troubles) {
  const tables = grid.map(({ exchange, streams, symbols, cells }) => ({
    exchange,
    streams,
    rows: symbols.map((symbol, row) => ({
      symbol,
      judged: cells[row].map((cell, n) => judge(troubles.get(`${exchange}/${streams[n]}/${symbol}`) ?? cell, streams[n])),
    })),
  }));
  at("topics-filter").hidden = tables.every((table) => table.rows.length <= MANY);
  const onlyTrouble = !at("topics-filter").hidden && at("only-trouble").checked;
  fill(at("grid"), tables, (table) => `${table.exchange} ${table.streams}`, createTable, (block, table) => drawTable(block, table, onlyTrouble));
}
