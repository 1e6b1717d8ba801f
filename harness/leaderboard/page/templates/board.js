
(() => {
"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const filters = Object.entries(content.filters);
// Of more rows than this, some are shown at once; the others, and what sorts them all, come when the browser has time.
const LARGE = 500;
const view = { chosen: new Map(filters.map(([name]) => [name, new Set()])), words: "", order: new Map(), open: new Set() };
let applying = false;

// An element with attributes and children; what is no element is text.
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const draw = (name, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

// -- tables: each row's labels are read once, in the order of the page, which is how DataTables numbers rows
const tables = [...document.querySelectorAll("table.cells")].map(element => {
  const columns = [...element.tHead.rows[0].cells].map(cell => cell.dataset.label);
  return { element, columns, total: element.tBodies[0].rows.length, grid: null };
});
const gridOf = ({ element, columns }) => {
  const same = new Map([...element.caption.querySelectorAll("[data-label]")].map(span => [span.dataset.label, span.dataset.value]));
  const places = filters.map(([name]) => columns.indexOf(name));
  const labels = Array.from(element.tBodies[0].rows, row => filters.map(([name], i) => places[i] < 0 ? same.get(name) ?? "" : row.cells[places[i]].textContent));
  const numbers = columns.flatMap((name, i) => element.tHead.rows[0].cells[i].classList.contains("number") || name === "IPC" ? [i] : []);
  const grid = new DataTable(element, {
    paging: false, info: false, autoWidth: false, orderClasses: false, order: [],
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    columnDefs: [{ targets: numbers, type: "num", orderSequence: ["desc", "asc", ""] }, { targets: "_all", type: "string", orderSequence: ["asc", "desc", ""] }],
    language: { emptyTable: "No cells.", zeroRecords: "No cell of this scenario is in this view." },
  });
  grid.search.fixed("filters", (_words, _row, number) => filters.every(([name], i) => {
    const chosen = view.chosen.get(name);
    return !chosen.size || chosen.has(labels[number][i]);
  }));
  for (const button of element.querySelectorAll(".value button")) button.setAttribute("aria-expanded", "false");
  grid.on("order", () => {
    const [first] = grid.order();
    if (first && first[1]) view.order.set(element.dataset.name, [columns[first[0]], first[1]]);
    else view.order.delete(element.dataset.name);
    remember();
  });
  return grid;
};
// Every table made ready to be sorted, filtered and opened; once.
const ready = () => {
  for (const table of tables) table.grid ??= gridOf(table);
  document.documentElement.classList.remove("starting");
  return tables;
};

// -- the view's address
const remember = () => {
  if (applying) return;
  const address = new URLSearchParams();
  for (const [name, chosen] of view.chosen) for (const value of chosen) address.append(name, value);
  if (view.words) address.set("words", view.words);
  for (const [name, [column, way]] of view.order) address.append("order", JSON.stringify([name, column, way]));
  for (const key of view.open) address.append("cell", key);
  const text = address.toString();
  history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
};
const recall = () => {
  const hash = location.hash.slice(1);
  if (hash && !hash.includes("=")) return false;
  const address = new URLSearchParams(hash);
  for (const [name, chosen] of view.chosen) {
    chosen.clear();
    for (const value of address.getAll(name)) chosen.add(value);
  }
  view.words = address.get("words") ?? "";
  view.order.clear();
  for (const text of address.getAll("order")) {
    try {
      const [name, column, way] = JSON.parse(text);
      if (way === "asc" || way === "desc") view.order.set(name, [column, way]);
    } catch { /* an address that somebody has cut */ }
  }
  view.open = new Set(address.getAll("cell"));
  return true;
};
const apply = () => {
  applying = true;
  for (const { element, columns, grid } of ready()) {
    const [column, way] = view.order.get(element.dataset.name) ?? [];
    const place = columns.indexOf(column);
    grid.search(view.words).order(place < 0 ? [] : [[place, way]]).draw();
  }
  for (const button of document.querySelectorAll('.value button[aria-expanded="true"]')) {
    if (!view.open.has(button.closest("tr").id.slice(2))) toggle(button, false);
  }
  for (const key of view.open) {
    const button = document.querySelector(`#c-${CSS.escape(key)} .value button`);
    if (button) toggle(button, true);
  }
  show();
  applying = false;
};
const refilter = () => {
  for (const { grid } of ready()) grid.search(view.words).draw();
  show();
  remember();
};

// -- filters
const words = make("input", { type: "search", placeholder: "Search", "aria-label": "Search all cells" });
const count = make("output", { "aria-live": "polite" });
const boxes = [];
const bar = document.getElementById("filters");
bar.append(words);
for (const [name, values] of filters) {
  const summary = make("summary", {}, name);
  const fieldset = make("fieldset", {}, make("legend", { class: "hidden" }, name));
  for (const value of values) {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      view.chosen.get(name)[box.checked ? "add" : "delete"](value);
      refilter();
    });
    boxes.push({ box, name, value });
    fieldset.append(make("label", {}, box, " ", value));
  }
  bar.append(make("details", { name: "filter", "data-filter": name }, summary, fieldset));
}
const all = make("button", { type: "button" }, "Show all");
bar.append(all, count);
const show = () => {
  words.value = view.words;
  for (const { box, name, value } of boxes) box.checked = view.chosen.get(name).has(value);
  for (const details of bar.querySelectorAll("details")) {
    const chosen = view.chosen.get(details.dataset.filter);
    const summary = details.firstElementChild;
    summary.textContent = chosen.size ? `${details.dataset.filter}: ${chosen.size === 1 ? [...chosen][0] : chosen.size}` : details.dataset.filter;
    summary.classList.toggle("set", chosen.size > 0);
  }
  let shown = 0, total = 0;
  for (const { grid, total: rows } of tables) {
    shown += grid ? grid.rows({ search: "applied" }).count() : rows;
    total += rows;
  }
  count.textContent = shown === total ? `${total} cells` : `${shown} of ${total} cells`;
};
let waiting = 0;
words.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => { view.words = words.value; refilter(); }, 120);
});
all.addEventListener("click", () => {
  for (const chosen of view.chosen.values()) chosen.clear();
  view.words = "";
  refilter();
});
document.addEventListener("click", event => {
  for (const details of bar.querySelectorAll("details[open]")) if (!details.contains(event.target)) details.open = false;
});
bar.addEventListener("keydown", event => {
  const details = event.target.closest("details[open]");
  if (event.key === "Escape" && details) { details.open = false; details.firstElementChild.focus(); }
});

// -- what opens behind a cell
const NAMES = ["id", "seed", "status", "seconds", "environment", "best", "error", "places", "accuracies", "losses"];
const record = number => Object.fromEntries(content.records[number].map((value, i) => [NAMES[i], value]));
const shown = value => value === null || value === undefined ? "" : String(value);
const detail = key => {
  const seeds = content.cells[key].map(([number, value]) => ({ ...record(number), value }));
  const best = seeds.some(seed => seed.best !== null);
  const failed = seeds.some(seed => seed.error);
  const heads = ["seed", "value", ...(best ? ["best on test"] : []), "status", "seconds", "record", "train it again", ...(failed ? ["error"] : [])];
  const body = make("tbody");
  for (const seed of seeds) {
    const cells = [shown(seed.value), ...(best ? [shown(seed.best)] : []), seed.status, shown(seed.seconds),
      make("a", { href: `records/${seed.id}.json` }, make("code", {}, seed.id)), make("code", {}, `giftbench rerun ${content.board} ${seed.id}`), ...(failed ? [seed.error] : [])];
    body.append(make("tr", {}, make("th", { scope: "row" }, shown(seed.seed)), ...cells.map(cell => make("td", {}, cell))));
  }
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(head => make("th", { scope: "col" }, head)))), body);
  const facts = new Map();
  for (const seed of seeds) for (const [name, text] of content.environments[seed.environment]) {
    if (!facts.has(name)) facts.set(name, new Set());
    facts.get(name).add(text);
  }
  const list = make("dl", {}, ...[...facts].flatMap(([name, texts]) => [make("dt", {}, name), make("dd", {}, [...texts].join("; "))]));
  const curves = [["accuracies", "Accuracy in %"], ["losses", "Training loss"]].map(([name, title]) => [seeds.filter(seed => seed[name]), name, title]);
  return make("div", { class: "detail", id: `d-${key}` }, make("div", { class: "curves" }, ...curves.filter(([drawn]) => drawn.length).map(part => curve(...part))), make("div", { class: "wide", role: "region", tabindex: "0", "aria-label": "Seeds" }, table), list);
};
const curve = (seeds, values, quantity) => {
  const [width, height, left, bottom, top] = [360, 170, 44, 32, 10];
  const lines = seeds.map(seed => content.places[seed.places].slice(1).map((x, i) => [x, seed[values][i]]).filter(point => point[1] !== null));
  const xs = lines.flat().map(point => point[0]), ys = lines.flat().map(point => point[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const across = x => left + (width - left - 12) * (x - x0) / (x1 - x0 || 1);
  const up = y => height - bottom - (height - bottom - top) * (y - y0) / (y1 - y0 || 1);
  const name = content.places[seeds[0].places][0];
  const title = `${quantity} by ${name}, a line a seed`;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": title }, draw("title", {}, title));
  svg.append(draw("path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - 8}` }));
  const label = (x, y, text, anchor) => svg.append(draw("text", { x, y, "text-anchor": anchor }, text));
  label(left - 4, up(y0) + 4, shown(y0), "end");
  if (y1 > y0) label(left - 4, up(y1) + 4, shown(y1), "end");
  label(left, height - bottom + 14, shown(x0), "start");
  label(across(x1), height - bottom + 14, shown(x1), "end");
  label(width / 2, height - 4, title, "middle");
  for (const line of lines) svg.append(draw("path", { class: "line", d: "M" + line.map(([x, y]) => `${across(x).toFixed(1)} ${up(y).toFixed(1)}`).join("L") }));
  return svg;
};
const toggle = (button, open) => {
  const row = button.closest("tr");
  const key = row.id.slice(2);
  const { grid } = ready().find(({ element }) => element.contains(row));
  const child = grid.row(row).child;
  if (open) {
    grid.row(row).child(detail(key), "opened").show();
    button.setAttribute("aria-controls", `d-${key}`);
    view.open.add(key);
  } else {
    child.remove();
    button.removeAttribute("aria-controls");
    view.open.delete(key);
  }
  button.setAttribute("aria-expanded", String(open));
  remember();
};
document.getElementById("tables").addEventListener("click", event => {
  const button = event.target.closest(".value button");
  if (button) toggle(button, button.getAttribute("aria-expanded") !== "true");
});
for (const link of document.querySelectorAll('a[href^="#"]')) link.addEventListener("click", event => {
  const target = document.getElementById(link.hash.slice(1));
  event.preventDefault();
  target.scrollIntoView();
  target.focus({ preventScroll: true });
});

document.documentElement.classList.replace("loading", "live");
bar.hidden = false;
if (tables.reduce((sum, { total }) => sum + total, 0) > LARGE) {
  document.documentElement.classList.add("starting");
  addEventListener("beforeprint", ready);
  document.addEventListener("pointerdown", ready, { capture: true, once: true });
  document.addEventListener("keydown", ready, { capture: true, once: true });
  // after what is shown has been drawn; each table in a turn of its own, so that nothing waits for all of them
  const left = tables.slice();
  const next = () => {
    const table = left.shift();
    if (!table) return ready();
    table.grid ??= gridOf(table);
    setTimeout(next);
  };
  requestAnimationFrame(() => setTimeout(next, 100));
} else ready();
addEventListener("hashchange", () => { if (recall()) apply(); });
if (location.hash.includes("=") && recall()) apply();
else show();
performance.mark("usable");
if (view.open.size) document.getElementById(`c-${[...view.open][0]}`)?.scrollIntoView({ block: "center" });
})();
