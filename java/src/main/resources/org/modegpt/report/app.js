"use strict";
// The dashboard: which page, from which data. Pages are parts of the address after #, so the server knows fixed paths alone.
(() => {
  const {h, format, views} = modegpt;
  const main = document.getElementById("main");
  const status = document.getElementById("status");
  let page = 0;
  let leave = () => {};

  async function get(path, parameters = {}) {
    const query = new URLSearchParams(Object.entries(parameters).filter(([, v]) => v !== "" && v !== null && v !== undefined));
    const answer = await fetch(path + (query.size ? "?" + query : ""), {cache: "no-store"});
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error || answer.statusText);
    return body;
  }

  async function post(path, parameters) {
    const answer = await fetch(path + "?" + new URLSearchParams(parameters), {method: "POST", headers: {"X-Modegpt": "1"}});
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error || answer.statusText);
    return body;
  }

  const say = text => { status.textContent = text; };

  async function runs() {
    const selected = new Set();
    const filter = {kind: "", status: "", model: "", recipe: "", text: "", offset: 0, limit: 50};
    const facets = await get("api/facets");
    const list = h("div");
    const compare = h("button", {type: "button", disabled: true, onclick: () => { location.hash = "#/compare/" + [...selected].map(encodeURIComponent).join("/"); }}, "Compare");
    const label = () => { compare.disabled = selected.size !== 2; compare.textContent = `Compare (${selected.size} of 2)`; };
    label();
    const previous = h("button", {type: "button", onclick: () => { filter.offset = Math.max(0, filter.offset - filter.limit); show(); }}, "Newer");
    const next = h("button", {type: "button", onclick: () => { filter.offset += filter.limit; show(); }}, "Older");
    let last = "";
    async function show() {
      const answer = await get("api/runs", filter);
      previous.disabled = filter.offset === 0;
      next.disabled = answer.runs.length < filter.limit;
      const text = JSON.stringify(answer.runs);
      // Redrawn only when something changed, so that a reader's place and focus stay.
      if (text === last) return;
      last = text;
      list.replaceChildren(answer.runs.length ? views.runTable(answer.runs, (id, on) => { if (on) selected.add(id); else selected.delete(id); label(); }, selected) : h("p", {}, "No runs match."));
      say(`${answer.total} runs in ${answer.store}`);
    }
    const choose = (name, values) => h("label", {}, name, h("select", {name, onchange: e => { filter[name] = e.target.value; filter.offset = 0; show(); }},
      h("option", {value: ""}, "any"), values.map(v => h("option", {value: v}, v))));
    let typing;
    const search = h("label", {}, "search", h("input", {type: "search", name: "text", maxlength: 200, oninput: e => {
      clearTimeout(typing);
      typing = setTimeout(() => { filter.text = e.target.value; filter.offset = 0; show(); }, 200);
    }}));
    await show();
    const timer = setInterval(() => { if (!document.hidden) show().catch(e => say(e.message)); }, 5000);
    leave = () => clearInterval(timer);
    return h("div", {}, h("h2", {}, "Runs"),
      h("form", {onsubmit: e => e.preventDefault(), "aria-label": "Filters"}, choose("kind", facets.kinds), choose("status", ["running", "finished", "failed", "interrupted", "killed"]),
        choose("model", facets.models), choose("recipe", facets.recipes), search, compare),
      list, h("div", {class: "bar"}, previous, next));
  }

  async function run(id) {
    const data = await get("api/run", {id});
    const view = views.run(data);
    if (data.status === "running") follow(id, view.querySelector("#live"));
    return view;
  }

  /** Shows a running job's progress as it comes, and the whole page anew when it ends. */
  function follow(id, place) {
    const bar = h("progress", {max: 1, "aria-label": "Progress"});
    const text = h("p", {class: "hint", role: "status"});
    place.append(modegpt.card("Now", bar, text));
    const events = new EventSource("api/live?" + new URLSearchParams({id}));
    events.onmessage = message => {
      const now = JSON.parse(message.data);
      if (now.status !== "running") { events.close(); route(); return; }
      const p = now.progress;
      if (p && p.total > 0) bar.value = p.done / p.total; else bar.removeAttribute("value");
      const r = now.resources;
      text.textContent = [p ? `${p.phase}${p.total > 0 ? ` ${p.done} of ${p.total}` : ""}` : "", format.seconds(now.seconds),
        r ? `${format.number(r.cpu_cores)} cores busy, ${format.bytes(r.rss_bytes)}` : ""].filter(Boolean).join(", ");
    };
    leave = () => events.close();
  }

  async function compare(a, b) {
    const [x, y] = await Promise.all([get("api/run", {id: a}), get("api/run", {id: b})]);
    return views.compare(x, y);
  }

  async function tradeOffs() {
    const {points} = await get("api/models");
    return h("div", {}, h("h2", {}, "Trade-offs"), h("p", {class: "hint"}, "A model's metrics from all runs about it, the newest of each."), views.tradeOffs(points));
  }

  async function trends() {
    const facets = await get("api/facets");
    if (!facets.metrics.length) return h("p", {}, "No metrics yet.");
    const place = h("div");
    const show = async key => {
      const {points} = await get("api/trend", {metric: key});
      place.replaceChildren(modegpt.card(key, modegpt.timeChart(points.map(p => ({t: Date.parse(p.at), y: Number(p.value), group: [p.model, p.recipe].filter(Boolean).join(" "), link: "#/run/" + encodeURIComponent(p.run), label: p.run})), key)));
    };
    const initial = facets.metrics.find(k => /^perplexity/.test(k)) || facets.metrics[0];
    const select = h("select", {onchange: e => show(e.target.value).catch(x => say(x.message))}, facets.metrics.map(k => h("option", {value: k, selected: k === initial}, k)));
    await show(initial);
    return h("div", {}, h("h2", {}, "Trends"), h("div", {class: "bar"}, h("label", {}, "metric", select)), place);
  }

  async function alerts() {
    const {alerts: list} = await get("api/alerts");
    const act = (path, parameters) => post(path, parameters).then(route).catch(e => say(e.message));
    if (!list.length) return h("div", {}, h("h2", {}, "Alerts"), h("p", {}, "No alert has fired."));
    return h("div", {}, h("h2", {}, "Alerts"), modegpt.table([
      {label: "fired", cell: a => format.time(a.fired), sort: a => a.fired},
      {label: "rule", cell: a => a.rule, sort: a => a.rule},
      {label: "what", cell: a => a.message, wrap: true},
      {label: "run", cell: a => h("a", {href: "#/run/" + encodeURIComponent(a.run)}, a.run)},
      {label: "state", cell: a => h("span", {class: a.state === "open" ? "failed" : ""}, a.state), sort: a => a.state},
      {label: "do", cell: a => a.state !== "open" ? "" : h("span", {},
        h("button", {type: "button", "aria-label": `Acknowledge ${a.rule} of ${a.run}`, onclick: () => act("api/alerts/acknowledge", {id: a.id})}, "Acknowledge"), " ",
        h("button", {type: "button", "aria-label": `Mute rule ${a.rule} for a week`, onclick: () => act("api/alerts/mute", {rule: a.rule, hours: 168})}, "Mute a week"))},
    ], list, {label: "Alerts"}));
  }

  /** Tells in the navigation how many alerts are open. */
  async function count() {
    const {alerts: list} = await get("api/alerts");
    const open = list.filter(a => a.state === "open").length;
    document.querySelector("nav a[href='#/alerts']").textContent = open ? `Alerts (${open})` : "Alerts";
  }

  async function route() {
    const mine = ++page;
    const [name = "runs", ...parts] = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
    if (name === "main") return;
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === "#/" + name) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
    leave(); leave = () => {};
    const pages = {runs, run, compare, tradeoffs: tradeOffs, trends, alerts};
    try {
      modegpt.freeCharts();
      const view = Object.hasOwn(pages, name) ? await pages[name](...parts) : h("p", {}, "There is no such page.");
      if (mine !== page) return;
      count().catch(e => say(e.message));
      main.replaceChildren(view);
      document.title = (main.querySelector("h2")?.textContent || "MoDeGPT") + " - MoDeGPT runs";
    } catch (e) {
      if (mine === page) main.replaceChildren(h("p", {class: "error", role: "alert"}, e.message));
    }
  }

  window.addEventListener("hashchange", () => { route().then(() => main.focus({preventScroll: false})); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", route);
  route();
})();
