"use strict";
// A saved report: the same pages as the dashboard's, one after the other, from the data in this file.
(() => {
  const {h, views} = modegpt;
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  const draw = () => {
    modegpt.freeCharts();
    main.replaceChildren(
      data.points.length > 1 ? h("div", {}, h("h2", {}, "Trade-offs"), views.tradeOffs(data.points, false)) : "",
      data.runs.length === 2 ? views.compare(data.runs[0], data.runs[1]) : "",
      ...data.runs.map(r => h("article", {id: r.id}, views.run(r))));
  };
  // Links to runs inside the report lead to their place in it.
  window.addEventListener("hashchange", () => { const id = decodeURIComponent(location.hash.replace(/^#\/run\//, "")); document.getElementById(id)?.scrollIntoView(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
