"use strict";
// Plots, drawn by Chart.js; each carries its data as a table too, for readers without sight of the drawing.
(() => {
  const {h, format} = modegpt;
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const shapes = ["circle", "rect", "triangle", "rectRot", "star", "cross", "crossRot"];
  const live = new Set();

  /** Frees the charts of a page that is left. */
  modegpt.freeCharts = () => { live.forEach(c => c.destroy()); live.clear(); };

  const series = i => css("--series").split(/\s+/)[i % 7];

  function figure(label, caption, config, columns, rows, tall) {
    const canvas = h("canvas", {role: "img", "aria-label": label});
    const plot = h("div", {class: tall ? "plot tall" : "plot"}, canvas);
    const draw = () => {
      if (!canvas.isConnected) return;
      Chart.defaults.color = css("--quiet");
      Chart.defaults.borderColor = css("--line");
      Chart.defaults.font.family = "system-ui, 'DejaVu Sans', sans-serif";
      const chart = new Chart(canvas, config());
      live.add(chart);
    };
    requestAnimationFrame(draw);
    return h("figure", {}, plot, caption ? h("figcaption", {}, caption) : null,
      h("details", {}, h("summary", {}, "Data of this plot"), modegpt.table(columns, rows, {stack: false, label})));
  }

  /** A metric's name without its tags, which would not fit beside an axis. */
  const short = key => key.split("{")[0];

  const axis = (title, log, tick) => ({
    type: log ? "logarithmic" : "linear",
    title: {display: true, text: title, color: css("--text")},
    ticks: {color: css("--quiet"), maxTicksLimit: 8, callback: tick || (v => format.number(v))},
    grid: {color: css("--line")},
  });

  /** The points no other point beats on both axes, ordered by x. */
  modegpt.paretoFront = (points, xLower, yLower) => {
    const key = p => [xLower ? p.x : -p.x, yLower ? p.y : -p.y];
    const sorted = points.filter(p => Number.isFinite(p.x) && Number.isFinite(p.y))
      .sort((a, b) => key(a)[0] - key(b)[0] || key(a)[1] - key(b)[1]);
    let best = Infinity;
    return sorted.filter(p => { const y = key(p)[1]; if (y < best) { best = y; return true; } return false; });
  };

  /** Points {x, y, group, label, link} with the Pareto front drawn through the best. */
  modegpt.tradeOffChart = (points, xKey, yKey) => {
    const front = modegpt.paretoFront(points, modegpt.lowerIsBetter(xKey), modegpt.lowerIsBetter(yKey));
    const onFront = new Set(front);
    const groups = [...new Set(points.map(p => p.group))].sort();
    const config = () => ({
      type: "scatter",
      data: {datasets: [
        ...groups.map((g, i) => ({
          label: g || "(no recipe)", data: points.filter(p => p.group === g), pointStyle: shapes[i % shapes.length],
          backgroundColor: series(i), borderColor: series(i), pointRadius: 6, pointHoverRadius: 9})),
        {label: "Pareto front", data: front, type: "line", borderColor: css("--quiet"), borderDash: [6, 4], borderWidth: 2, pointRadius: 0, pointHitRadius: 0},
      ]},
      options: {
        responsive: true, maintainAspectRatio: false, animation: false,
        scales: {x: axis(short(xKey), false, v => format.metric(xKey, v)), y: axis(short(yKey), false, v => format.metric(yKey, v))},
        plugins: {
          legend: {position: "bottom", labels: {usePointStyle: true, color: css("--text")}},
          tooltip: {callbacks: {label: c => `${c.raw.label}: ${format.metric(xKey, c.raw.x)}, ${format.metric(yKey, c.raw.y)}`}},
        },
        onClick: (event, hits) => { const hit = hits[0]; if (hit) { const p = hit.element.$context.raw; if (p && p.link) location.hash = p.link; } },
      },
    });
    const columns = [
      {label: "model", cell: p => p.link ? h("a", {href: p.link}, p.label) : p.label, sort: p => p.label},
      {label: "recipe", cell: p => p.group, sort: p => p.group},
      {label: xKey, cell: p => format.metric(xKey, p.x), sort: p => p.x, number: true},
      {label: yKey, cell: p => format.metric(yKey, p.y), sort: p => p.y, number: true},
      {label: "front", cell: p => onFront.has(p) ? "yes" : "", sort: p => onFront.has(p) ? 0 : 1},
    ];
    return figure(`${yKey} against ${xKey}, ${points.length} models, ${front.length} on the Pareto front`,
      `${points.length} models; on the Pareto front, where no other is better in both: ${front.length}.`, config, columns, points, true);
  };

  /** Values over time: points {t (ms), y, group, link, label, error}. */
  modegpt.timeChart = (points, key, {lines = true, unit} = {}) => {
    const groups = [...new Set(points.map(p => p.group))].sort();
    const span = points.length ? Math.max(...points.map(p => p.t)) - Math.min(...points.map(p => p.t)) : 0;
    const tick = v => { const t = format.time(v); return span > 2 * 864e5 ? t.slice(0, 10) : span > 36e5 ? t.slice(5, 16) : t.slice(11); };
    const show = unit || (v => format.metric(key, v));
    const config = () => ({
      type: "scatter",
      data: {datasets: groups.map((g, i) => ({
        label: g || key, data: points.filter(p => p.group === g).sort((a, b) => a.t - b.t).map(p => ({...p, x: p.t})),
        showLine: lines, borderColor: series(i), backgroundColor: series(i), borderWidth: 2, pointStyle: shapes[i % shapes.length],
        pointRadius: points.length > 150 ? 0 : 4, pointHitRadius: 8}))},
      options: {
        responsive: true, maintainAspectRatio: false, animation: false,
        scales: {x: {...axis("", false, tick), type: "linear"}, y: axis(short(key), false, show)},
        plugins: {
          legend: {display: groups.length > 1 || Boolean(groups[0]), position: "bottom", labels: {usePointStyle: true, color: css("--text")}},
          tooltip: {callbacks: {label: c => `${format.time(c.raw.t)}  ${show(c.raw.y)}${c.raw.label ? "  " + c.raw.label : ""}`}},
        },
        onClick: (event, hits) => { const hit = hits[0]; if (hit) { const p = hit.element.$context.raw; if (p && p.link) location.hash = p.link; } },
      },
    });
    const columns = [
      {label: "time", cell: p => p.link ? h("a", {href: p.link}, format.time(p.t)) : format.time(p.t), sort: p => p.t},
      {label: "of", cell: p => p.group || "", sort: p => p.group},
      {label: key, cell: p => show(p.y), sort: p => p.y, number: true},
    ];
    return figure(`${key} over time, ${points.length} values`, null, config, columns, points);
  };

  /** Phases as bars on a common time line. */
  modegpt.phaseChart = run => {
    const start = Date.parse(run.started);
    const total = Math.max(0.001, run.seconds || 0, ...run.phases.map(p => (Date.parse(p.started) - start) / 1e3 + p.seconds));
    return h("div", {role: "list", "aria-label": "Phases"}, run.phases.map(p => {
      const bar = h("div", {class: "span"});
      // Set on the element, not in markup, so that the page's policy can forbid inline styles.
      bar.style.left = 100 * (Date.parse(p.started) - start) / 1e3 / total + "%";
      bar.style.width = 100 * p.seconds / total + "%";
      return h("div", {class: "lane", role: "listitem"}, h("span", {class: "name", title: p.name}, p.name),
        h("div", {class: "track", "aria-hidden": "true"}, bar), h("span", {class: "time"}, format.seconds(p.seconds)));
    }));
  };

  /** What was kept of each module and what it cost: one row a layer. */
  modegpt.heatMap = layers => {
    const modules = [...new Set(layers.map(l => l.module))].sort();
    const numbers = [...new Set(layers.map(l => l.layer))].sort((a, b) => a - b);
    const cost = l => l.measured_error ?? l.predicted_loss ?? null;
    const costs = layers.map(cost).filter(c => c !== null && Number.isFinite(Number(c))).map(Number);
    const highest = Math.max(...costs, 1e-12);
    const find = (layer, module) => layers.find(l => l.layer === layer && l.module === module);
    const cell = (text, strength, colour, title) => {
      const td = h("td", {class: "cell", title}, text);
      if (strength !== null) td.style.backgroundColor = `rgba(${css(colour)}, ${(0.06 + 0.5 * Math.min(1, Math.max(0, strength))).toFixed(3)})`;
      return td;
    };
    const rows = numbers.map(n => h("tr", {}, h("th", {scope: "row", class: "number"}, String(n)),
      modules.map(m => { const l = find(n, m); return l ? cell(format.percent(l.kept / l.original), 1 - l.kept / l.original, "--heat", `layer ${n} ${m}: ${l.kept} of ${l.original} kept`) : cell("", null); }),
      costs.length ? modules.map(m => { const l = find(n, m), c = l ? cost(l) : null; return c === null ? cell("", null) : cell(format.number(c), Math.sqrt(Math.max(0, Number(c)) / highest), "--cost", `layer ${n} ${m}: ${c}`); }) : []));
    const head = h("thead", {},
      h("tr", {}, h("th", {scope: "col", rowspan: 2}, "layer"), h("th", {scope: "colgroup", colspan: modules.length}, "kept"),
        costs.length ? h("th", {scope: "colgroup", colspan: modules.length}, layers.some(l => l.measured_error !== undefined && l.measured_error !== null) ? "error measured" : "loss predicted (nats)") : null),
      h("tr", {}, [...modules, ...(costs.length ? modules : [])].map(m => h("th", {scope: "col", class: "number"}, m))));
    return h("div", {class: "scroll"}, h("table", {class: "heat", "aria-label": "What each layer kept and cost"}, head, h("tbody", {}, rows)));
  };
})();
