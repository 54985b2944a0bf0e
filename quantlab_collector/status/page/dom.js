// Elements and words. Data becomes text and nothing else: there is no way from here to markup.

export const at = (id) => document.getElementById(id);

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

// Only what differs is touched, so that a reader's selection and a screen reader's place stay.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, className) {
  if (element.className !== className) element.className = className;
}

// Children that belong to items, found again by key; `draw` makes what is new and is called for each.
export function fill(parent, items, keyOf, create, draw) {
  const before = parent.kept ?? new Map();
  const kept = new Map();
  items.forEach((item, place) => {
    const key = keyOf(item);
    const child = before.get(key) ?? create(item);
    kept.set(key, child);
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
    draw(child, item);
  });
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  parent.kept = kept;
}

// A list of terms and figures: [term, value, className, note].
export function figures(list, entries) {
  fill(list, entries, ([term]) => term, ([term]) => {
    const group = make("div");
    group.append(make("dt", "", term), make("dd"));
    group.lastElementChild.append(make("span"), make("span", "note"));
    return group;
  }, (group, [, value, className = "", note = ""]) => {
    const [figure, remark] = group.lastElementChild.children;
    say(figure, value);
    mark(figure, className);
    say(remark, note);
    remark.hidden = !note;
  });
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (number) => whole.format(number);

export function rate(number) {
  if (number >= 100) return whole.format(number);
  return number >= 10 ? number.toFixed(1) : number.toFixed(2);
}

export function bytes(number) {
  if (number === null) return "unknown";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; number >= 1000 && unit < units.length - 1; unit++) number /= 1000;
  return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 100) return `${s} s`;
  if (s < 6000) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export function moment(time) {
  const then = new Date(time);
  if (Number.isNaN(then.getTime())) return String(time);
  const today = then.toDateString() === new Date().toDateString();
  return today ? clock.format(then) : `${day.format(then)} ${clock.format(then)}`;
}
