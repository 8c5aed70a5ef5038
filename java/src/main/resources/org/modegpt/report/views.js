"use strict";
// Pages made of data alone: the dashboard fetches it, a saved report carries it.
(() => {
  const {h, format, card, table} = modegpt;
  const views = modegpt.views = {};
  const runLink = id => "#/run/" + encodeURIComponent(id);
  const badge = status => h("span", {class: "badge " + (["running", "finished", "failed", "killed", "interrupted"].includes(status) ? status : "")}, status);
  const costs = ["seconds", "peak_rss_bytes"];
  // Mirrors Metrics.isResult and Metrics.rank.
  const isResult = key => !costs.includes(key) && !key.includes("of=base");
  const interest = ["perplexity", "accuracy", "tokens_per_second", "prompt_tokens_per_second", "ratio", "bytes"];
  const rank = key => { const i = interest.indexOf(key.split("{")[0]); return i < 0 ? interest.length : i; };
  const facts = pairs => h("dl", {}, pairs.filter(p => p[1] !== "" && p[1] !== null && p[1] !== undefined).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

  /** Rows of the list of runs; `select` is told which ids are ticked. */
  views.runTable = (runs, select, selected = new Set()) => {
    const name = key => key.split("{")[0];
    // Tags are told only where they distinguish two results.
    const results = run => {
      const best = Object.entries(run.metrics).filter(([key]) => isResult(key)).sort((a, b) => rank(a[0]) - rank(b[0])).slice(0, 3);
      const shown = key => best.filter(([other]) => name(other) === name(key)).length > 1 ? key : name(key);
      return h("span", {title: best.map(([key]) => key).join(", ")}, best.map(([key, value]) => `${shown(key)} ${format.metric(key, value)}`).join(", "));
    };
    const columns = [
      ...(select ? [{label: "compare", cell: r => h("input", {type: "checkbox", checked: selected.has(r.id), "aria-label": `Compare ${r.id}`, onchange: e => select(r.id, e.target.checked)})}] : []),
      {label: "run", cell: r => h("a", {href: runLink(r.id)}, r.id), sort: r => r.id},
      {label: "kind", cell: r => r.kind, sort: r => r.kind},
      {label: "status", cell: r => badge(r.status), sort: r => r.status},
      {label: "started", cell: r => format.time(r.started), sort: r => r.started},
      {label: "time", cell: r => r.seconds === undefined ? "" : format.seconds(r.seconds), sort: r => r.seconds ?? NaN, number: true},
      {label: "model", cell: r => r.model, sort: r => r.model, wrap: true},
      {label: "recipe", cell: r => r.recipe, sort: r => r.recipe},
      {label: "result", cell: r => r.error ? h("span", {class: "error"}, r.error) : results(r), wrap: true},
    ];
    return table(columns, runs, {label: "Runs"});
  };

  views.metricKeys = points => [...new Set(points.flatMap(p => Object.keys(p.metrics)))].sort();

  /** Trade-offs among all models made from the same one, with a picker for that where there are several. */
  views.tradeOffs = (points, links = true) => {
    const origin = p => p.base || p.identity;
    const origins = [...new Set(points.filter(p => p.base).map(origin))];
    if (origins.length < 2) return tradeOffs(points, links);
    const label = id => points.find(p => p.identity === id)?.label || id;
    const place = h("div");
    const show = id => place.replaceChildren(tradeOffs(id ? points.filter(p => origin(p) === id) : points, links));
    show(origins[0]);
    return h("div", {}, h("div", {class: "bar"}, h("label", {}, "original", h("select", {name: "original", onchange: e => show(e.target.value)},
      origins.map((id, i) => h("option", {value: id, selected: i === 0}, label(id))), h("option", {value: ""}, "all models")))), place);
  };

  /** Trade-offs between two metrics of models, with pickers for both axes. */
  const tradeOffs = (points, links) => {
    const keys = views.metricKeys(points);
    const known = key => points.filter(p => p.metrics[key] !== undefined).length;
    // Of the keys that match a pattern the one that most models have.
    const find = pattern => keys.filter(key => pattern.test(key)).sort((a, b) => known(b) - known(a))[0];
    const first = (...patterns) => patterns.map(find).find(Boolean) || keys[0];
    if (!keys.length) return h("p", {}, "No model has two metrics yet: compress one, then evaluate it.");
    const size = first(/^bytes/, /^ratio/, /^parameters/);
    const charts = h("div", {class: "grid"});
    const plot = (x, y) => modegpt.tradeOffChart(points
      .filter(p => p.metrics[x] !== undefined && p.metrics[y] !== undefined)
      .map(p => ({x: Number(p.metrics[x]), y: Number(p.metrics[y]), group: p.recipe, label: p.label, link: links && p.run ? runLink(p.run) : null}))
      .filter(p => Number.isFinite(p.x) && Number.isFinite(p.y)), x, y);
    const pick = (label, value) => h("select", {}, keys.map(k => h("option", {value: k, selected: k === value}, k)));
    const x = pick("x", size), y = pick("y", first(/^perplexity/, /^accuracy/, /per_second/));
    const chosen = h("div");
    const draw = () => chosen.replaceChildren(plot(x.value, y.value));
    x.addEventListener("change", draw); y.addEventListener("change", draw);
    draw();
    const others = [find(/^acc/), find(/^best_tokens_per_second/) || find(/^tokens_per_second/)].filter(Boolean);
    charts.append(...others.map(k => card(`${k} and ${size}`, plot(size, k))));
    return h("div", {}, h("div", {class: "bar"}, h("label", {}, "horizontal", x), h("label", {}, "vertical", y)), card("Trade-off", chosen), charts);
  };

  /** Everything about one run. */
  views.run = run => {
    const resources = run.resources || [];
    const at = r => Date.parse(r.at);
    const memory = [...resources.map(r => ({t: at(r), y: r.rss_bytes, group: "resident memory"})),
      ...resources.filter(r => r.gpu_bytes !== undefined).map(r => ({t: at(r), y: r.gpu_bytes, group: "GPU memory"}))];
    const use = [...resources.map(r => ({t: at(r), y: r.cpu_cores, group: "processor cores busy"})),
      ...resources.filter(r => r.gpu_utilisation !== undefined).map(r => ({t: at(r), y: r.gpu_utilisation, group: "GPU share busy"}))];
    const seriesNames = [...new Set((run.series || []).map(p => p.name))];
    return h("div", {},
      h("h2", {}, run.kind, " ", run.model, " ", badge(run.status)),
      run.error ? h("p", {class: "error"}, run.error) : null,
      h("div", {id: "live"}),
      h("div", {class: "grid"},
        card("Run", facts([["id", run.id], ["started", format.time(run.started)], ["time", format.seconds(run.seconds)], ["recipe", run.recipe],
          ["host", run.host], ["machine", run.machine], ["version", [run.version, run.revision].filter(Boolean).join(" ")], ["command", run.command]])),
        run.metrics.length ? card("Metrics", table([
          {label: "metric", cell: m => m.key, sort: m => m.key, wrap: true},
          {label: "value", cell: m => format.metric(m.name, m.value), sort: m => Number(m.value), number: true},
          {label: "\u00b1", cell: m => format.number(m.standard_error), number: true},
          {label: "unit", cell: m => m.unit},
        ], run.metrics, {stack: false, label: "Metrics"})) : null),
      run.phases.length ? card("Timeline", modegpt.phaseChart(run)) : null,
      resources.length > 1 ? h("div", {class: "grid"}, card("Processor", modegpt.timeChart(use, "busy", {unit: format.number})), card("Memory", modegpt.timeChart(memory, "bytes"))) : null,
      seriesNames.length ? h("div", {class: "grid"}, seriesNames.map(name => card(name, modegpt.timeChart(run.series.filter(p => p.name === name).map(p => ({t: Date.parse(p.at), y: Number(p.value), group: ""})), name)))) : null,
      run.layers.length ? card("Layers: what was kept and what it cost", modegpt.heatMap(run.layers)) : null,
      h("div", {class: "grid"},
        Object.keys(run.parameters).length ? card("Parameters", facts(Object.entries(run.parameters))) : null,
        run.models.length ? card("Models", run.models.map(m => facts([["role", m.role], ["path", m.path], ["identity", m.hash],
          ["parameters", m.parameters === undefined ? "" : String(m.parameters)], ["size", m.bytes === undefined ? "" : format.bytes(m.bytes)]]))) : null));
  };

  /** Two runs side by side. */
  views.compare = (a, b) => {
    const names = [...new Set([...Object.keys(a.parameters), ...Object.keys(b.parameters)])].sort();
    const value = (run, key) => { const m = run.metrics.find(x => x.key === key); return m ? Number(m.value) : NaN; };
    const error = (run, key) => { const m = run.metrics.find(x => x.key === key); return m && m.standard_error !== undefined ? Number(m.standard_error) : NaN; };
    const keys = [...new Set([...a.metrics, ...b.metrics].map(m => m.key))].sort();
    const change = key => value(b, key) / value(a, key) - 1;
    const changed = key => {
      const c = change(key);
      if (!Number.isFinite(c)) return "";
      const s = Math.abs(value(b, key) - value(a, key)) / Math.hypot(error(a, key), error(b, key));
      const noise = Number.isFinite(s) && s < 2 ? " (within error)" : "";
      const worse = modegpt.lowerIsBetter(key) ? c > 0 : c < 0;
      return h("span", {class: c === 0 || noise ? "" : worse ? "worse" : "better"}, `${c > 0 ? "+" : ""}${(100 * c).toFixed(2)} %${c === 0 ? "" : worse ? " worse" : " better"}${noise}`);
    };
    const head = run => h("a", {href: runLink(run.id)}, run.id);
    const phases = [...new Set([...a.phases, ...b.phases].map(p => p.name))];
    const spent = (run, name) => { const all = run.phases.filter(p => p.name === name); return all.length ? all.reduce((s, p) => s + p.seconds, 0) : NaN; };
    const layers = a.layers.map(x => ({x, y: b.layers.find(l => l.layer === x.layer && l.module === x.module)})).filter(p => p.y);
    return h("div", {},
      h("h2", {}, "Compare"),
      h("p", {}, "A: ", head(a), ` ${a.kind} ${a.model} ${a.recipe}`, h("br"), "B: ", head(b), ` ${b.kind} ${b.model} ${b.recipe}`),
      card("Metrics", table([
        {label: "metric", cell: k => k, sort: k => k, wrap: true},
        {label: "A", cell: k => format.metric(k, value(a, k)).replace("NaN", ""), number: true},
        {label: "B", cell: k => format.metric(k, value(b, k)).replace("NaN", ""), number: true},
        {label: "B against A", cell: changed, sort: k => change(k), number: true},
      ], keys, {label: "Metrics"})),
      h("div", {class: "grid"},
        card("Parameters that differ", table([
          {label: "parameter", cell: n => n}, {label: "A", cell: n => a.parameters[n] ?? "", wrap: true}, {label: "B", cell: n => b.parameters[n] ?? "", wrap: true},
        ], names.filter(n => a.parameters[n] !== b.parameters[n]), {label: "Parameters"})),
        phases.length ? card("Phases", table([
          {label: "phase", cell: n => n}, {label: "A", cell: n => format.seconds(spent(a, n)), number: true}, {label: "B", cell: n => format.seconds(spent(b, n)), number: true},
        ], phases, {label: "Phases"})) : null),
      layers.length ? card("Layers: share kept", table([
        {label: "layer", cell: p => String(p.x.layer), sort: p => p.x.layer, number: true}, {label: "module", cell: p => p.x.module, sort: p => p.x.module},
        {label: "A", cell: p => format.percent(p.x.kept / p.x.original), sort: p => p.x.kept / p.x.original, number: true},
        {label: "B", cell: p => format.percent(p.y.kept / p.y.original), sort: p => p.y.kept / p.y.original, number: true},
        {label: "B less A", cell: p => format.percent(p.y.kept / p.y.original - p.x.kept / p.x.original), sort: p => p.y.kept / p.y.original - p.x.kept / p.x.original, number: true},
      ], layers, {stack: false, label: "Layers"})) : null);
  };
})();
