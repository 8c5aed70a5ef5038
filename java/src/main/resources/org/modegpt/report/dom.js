"use strict";
// Elements and formats. Every text from a run enters the page by textContent, never as markup.
const modegpt = {};

/** An element: h("a", {href: "#", class: "x", onclick: f}, "text", child, [children]). */
modegpt.h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter(c => c !== null && c !== undefined && c !== ""));
  return element;
};

modegpt.format = {
  /** Four significant digits; infinities and NaN come as texts. */
  number(value) {
    const x = Number(value);
    if (value === null || value === undefined || value === "") return "";
    if (!Number.isFinite(x)) return String(value);
    if (Number.isInteger(x) && Math.abs(x) < 1e15) return Math.abs(x) < 1e4 ? String(x) : x.toLocaleString("en-US");
    const size = Math.abs(x);
    if (size >= 1e6 || (size < 1e-3 && size > 0)) return x.toExponential(2);
    return String(Number(x.toPrecision(4)));
  },
  bytes(value) {
    let x = Number(value);
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    while (Math.abs(x) >= 1024 && units.length > 1) { x /= 1024; units.shift(); }
    return modegpt.format.number(x) + " " + units[0];
  },
  seconds(value) {
    const x = Number(value);
    if (!Number.isFinite(x)) return "";
    if (x < 60) return modegpt.format.number(Number(x.toPrecision(3))) + " s";
    const t = Math.round(x), two = n => String(n).padStart(2, "0");
    return t >= 3600 ? `${Math.floor(t / 3600)}:${two(Math.floor(t / 60) % 60)}:${two(t % 60)} h` : `${Math.floor(t / 60)}:${two(t % 60)} min`;
  },
  time(iso) {
    const t = new Date(iso), two = n => String(n).padStart(2, "0");
    return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
  },
  percent: value => (100 * Number(value)).toFixed(1) + " %",
  /** A metric's value in the unit its name says. */
  metric(key, value) {
    const name = key.split("{")[0];
    if (/bytes/.test(name)) return modegpt.format.bytes(value);
    if (name === "seconds") return modegpt.format.seconds(value);
    return modegpt.format.number(value);
  },
};

/** Mirrors Metrics.lowerIsBetter. */
modegpt.lowerIsBetter = key => !/per_second|acc|recovery/.test(key.split("{")[0]);

/** A table: columns are {label, cell(row) -> text or node, number, sort(row) -> value}; `stack` makes rows into cards on a phone. */
modegpt.table = (columns, rows, {caption, stack = true, label} = {}) => {
  const {h} = modegpt;
  const body = h("tbody");
  const fill = list => body.replaceChildren(...list.map(row => h("tr", {}, columns.map(c => {
    const content = c.cell(row);
    return h("td", {class: [c.number && "number", c.wrap && "wrap"].filter(Boolean).join(" ") || null, "data-label": c.label}, content);
  }))));
  fill(rows);
  const head = h("tr", {}, columns.map((c, i) => {
    const cell = h("th", {scope: "col", class: c.number ? "number" : null});
    if (!c.sort || rows.length < 2) { cell.append(c.label); return cell; }
    cell.append(h("button", {type: "button", "aria-label": `Sort by ${c.label}`, onclick: () => {
      const down = cell.getAttribute("aria-sort") === "ascending";
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sign = down ? -1 : 1;
      fill([...rows].sort((a, b) => {
        const x = c.sort(a), y = c.sort(b);
        if (x === y) return 0;
        if (x === null || x === undefined || Number.isNaN(x)) return 1;
        if (y === null || y === undefined || Number.isNaN(y)) return -1;
        return x < y ? -sign : sign;
      }));
    }}, c.label));
    return cell;
  }));
  return h("div", {class: "scroll"}, h("table", {class: stack ? "stack" : null, "aria-label": label || null},
    caption ? h("caption", {}, caption) : null, h("thead", {}, head), body));
};

modegpt.card = (title, ...content) => modegpt.h("section", {class: "card"}, modegpt.h("h3", {}, title), ...content);
