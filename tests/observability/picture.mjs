// Draws the dashboard's panels, read from Grafana's own file, with what a Prometheus answers, and
// takes a picture.
//
//   node picture.mjs DASHBOARD PROMETHEUS FROM TO STEP OUT

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [file, prometheus, from, to, step, out] = process.argv.slice(2);
const dashboard = JSON.parse(readFileSync(file, "utf8"));
const library = (name) =>
  readFileSync(createRequire(import.meta.url).resolve(`uplot/dist/${name}`), "utf8");

/** As Grafana would send it, for all tenants: four scrapes, and never less than a step. */
const filled = (query) =>
  query.replaceAll("$__rate_interval", `${4 * step}s`).replaceAll("$app", ".*");

async function ask(path, parameters) {
  const answer = await fetch(`${prometheus}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const said = await answer.json();
  if (said.status !== "success") throw new Error(`${parameters.query}: ${said.error}`);
  return said.data.result;
}

const named = (format, labels) =>
  format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "").trim();

async function drawn(panel) {
  const answers = await Promise.all(
    (panel.targets ?? []).map((target) => {
      const query = filled(target.expr);
      return target.instant
        ? ask("query", { query, time: to })
        : ask("query_range", { query, start: from, end: to, step });
    }),
  );
  const all = answers.flatMap((series, index) =>
    series.map((one) => ({ ...one, target: panel.targets[index], index })),
  );
  const about = {
    type: panel.type,
    title: panel.title,
    at: panel.gridPos,
    fields: panel.fieldConfig,
  };
  if (panel.type === "stat")
    return { ...about, value: all.length ? Number(all[0].value[1]) : null };
  if (panel.type === "table") {
    const renamed = panel.transformations.find(({ id }) => id === "organize").options.renameByName;
    const rows = {};
    for (const { metric, value, index } of all) (rows[metric.app] ??= {})[index] = Number(value[1]);
    return {
      ...about,
      columns: panel.targets.map(({ refId }) => renamed[`Value #${refId}`]),
      first: renamed.app,
      rows,
    };
  }
  const times = [];
  for (let time = Number(from); time <= Number(to); time += Number(step)) times.push(time);
  const lines = all.map(({ metric, values, target }) => {
    const known = new Map(values.map(([time, value]) => [Math.round(time), Number(value)]));
    return {
      name: named(target.legendFormat, metric),
      values: times.map((time) => (Number.isFinite(known.get(time)) ? known.get(time) : null)),
    };
  });
  return {
    ...about,
    times,
    lines,
    stacked: panel.fieldConfig?.defaults?.custom?.stacking?.mode === "normal",
  };
}

/** Runs in the page. */
function draw(title, panels) {
  const colours = [
    "#73bf69",
    "#f2cc0c",
    "#5794f2",
    "#ff9830",
    "#f2495c",
    "#b877d9",
    "#8ab8ff",
    "#ffee52",
    "#ca95e5",
    "#56a64b",
    "#ffa6b0",
    "#96d98d",
  ];
  const digits = (value, places) => value.toLocaleString("en", { maximumFractionDigits: places });
  const scaled = (value, unit, places = Math.abs(value) < 1 ? 3 : Math.abs(value) < 10 ? 2 : 1) =>
    ({
      s: () =>
        value === 0
          ? "0 s"
          : Math.abs(value) < 1
            ? `${digits(value * 1000, 1)} ms`
            : value < 120
              ? `${digits(value, 2)} s`
              : `${digits(value / 60, 1)} min`,
      percentunit: () => `${digits(value * 100, 1)} %`,
      bytes: () => `${digits(value / 2 ** 20, 1)} MiB`,
      reqps: () => `${digits(value, places)} /s`,
    })[unit]?.() ?? digits(value, places);
  const element = (tag, name, text, into) => {
    const made = Object.assign(document.createElement(tag), { className: name, textContent: text });
    into.append(made);
    return made;
  };
  element("h1", "", title, document.body);
  const grid = element("main", "", "", document.body);
  for (const panel of panels) {
    const box = element("section", panel.type, "", grid);
    Object.assign(box.style, {
      gridColumn: `${panel.at.x + 1} / span ${panel.at.w}`,
      gridRow: `${panel.at.y + 1} / span ${panel.at.h}`,
    });
    element("h2", "", panel.title, box);
    const { unit, decimals, thresholds } = panel.fields?.defaults ?? {};
    if (panel.type === "stat") {
      const value = element(
        "p",
        "",
        panel.value === null ? "no data" : scaled(panel.value, unit, decimals),
        box,
      );
      const step = thresholds.steps
        .filter((step) => step.value === null || panel.value >= step.value)
        .at(-1);
      value.style.color = { green: "#73bf69", orange: "#ff9830", red: "#f2495c", blue: "#5794f2" }[
        step.color
      ];
    } else if (panel.type === "table") {
      const table = element("table", "", "", box);
      const head = element("tr", "", "", table);
      for (const name of [panel.first, ...panel.columns]) element("th", "", name, head);
      for (const [app, values] of Object.entries(panel.rows)) {
        const row = element("tr", "", "", table);
        element("td", "", app, row);
        panel.columns.forEach((name, index) => {
          const its = panel.fields.overrides.find(({ matcher }) => matcher.options === name)
            .properties[0].value;
          element("td", "", index in values ? scaled(values[index], its) : "", row);
        });
      }
    } else if (panel.type === "timeseries") {
      if (!panel.lines.length) {
        element("p", "", "no data", box);
        continue;
      }
      const shown = panel.lines.map(({ values }) => [...values]);
      // The lines of a stack are drawn from the top down, each over the one below it.
      if (panel.stacked)
        shown.reduce(
          (below, line) => (
            below.forEach((value, i) => {
              line[i] = value === null && line[i] === null ? null : (value ?? 0) + (line[i] ?? 0);
            }),
            line
          ),
        );
      const order = shown.map((_, index) => index);
      if (panel.stacked) order.reverse();
      const legend = element("p", "legend", "", box);
      panel.lines.forEach(({ name, values }, index) => {
        const last = values.findLast((value) => value !== null);
        const entry = element(
          "span",
          "",
          `${name || panel.title} ${last === undefined ? "" : scaled(last, unit)}`,
          legend,
        );
        entry.style.setProperty("--colour", colours[index % colours.length]);
      });
      const room = box.getBoundingClientRect();
      const grey = {
        stroke: "#9fa1a8",
        grid: { stroke: "#2c2e33", width: 1 },
        ticks: { show: false },
        font: "11px system-ui, sans-serif",
      };
      new uPlot(
        {
          width: room.width - 16,
          height: room.height - 34 - legend.offsetHeight,
          legend: { show: false },
          cursor: { show: false },
          scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
          axes: [
            { ...grey, size: 26, space: 70, values: "{HH}:{mm}:{ss}" },
            { ...grey, size: 66, values: (_, ticks) => ticks.map((tick) => scaled(tick, unit)) },
          ],
          series: [
            {},
            ...order.map((index) => ({
              stroke: colours[index % colours.length],
              width: 1.25,
              points: { show: false },
              fill: panel.stacked
                ? `color-mix(in srgb, ${colours[index % colours.length]} 45%, #181b1f)`
                : undefined,
            })),
          ],
        },
        [panel.times, ...order.map((index) => shown[index])],
        box,
      );
    }
  }
}

const style = `
  body { margin: 0; padding: 12px; background: #111217; color: #d5d6da;
    font: 13px system-ui, sans-serif; width: 1576px }
  h1 { font-size: 15px; font-weight: 500; margin: 0 0 10px }
  main { display: grid; grid-template-columns: repeat(24, 1fr); grid-auto-rows: 30px; gap: 6px }
  section { background: #181b1f; border: 1px solid #2c2e33; border-radius: 3px; padding: 6px 8px;
    box-sizing: border-box; overflow: hidden; min-width: 0 }
  .row { background: none; border: 0; padding: 6px 0 0 }
  h2 { font-size: 13px; font-weight: 500; margin: 0 0 4px }
  .row h2 { font-size: 14px }
  .stat p { font-size: 28px; text-align: center; margin: 14px 0 }
  .timeseries > p { margin: 0 }
  .legend { font-size: 11px; color: #b5b7bd; max-height: 30px; overflow: hidden }
  .legend span { margin-right: 10px; white-space: nowrap }
  .legend span::before { content: ""; display: inline-block; width: 9px; height: 3px;
    margin: 0 4px 3px 0; background: var(--colour) }
  table { width: 100%; border-collapse: collapse }
  th, td { text-align: left; padding: 4px 8px; border-bottom: 1px solid #2c2e33; font-weight: 400 }
  th { color: #8ab8ff }`;

const panels = await Promise.all(dashboard.panels.map(drawn));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox"],
});
try {
  const page = await browser.newPage({
    viewport: { width: 1600, height: 900 },
    deviceScaleFactor: 1,
  });
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.setContent(
    `<!doctype html><meta charset="utf-8"><style>${library("uPlot.min.css")}${style}</style><body>`,
  );
  await page.addScriptTag({ content: library("uPlot.iife.min.js") });
  const title =
    `${dashboard.title} · drawn from Grafana's dashboard file by tests/observability/picture, ` +
    "not by Grafana";
  await page.evaluate(`(${draw})(${JSON.stringify(title)}, ${JSON.stringify(panels)})`);
  await page.screenshot({ path: out, fullPage: true });
} finally {
  await browser.close();
}
