// The page at "/" as people meet it: on a phone and on a desk, in light and dark, by mouse, by keyboard and without a script.
// tests/browser/run starts what this needs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const { CHROMIUM, PICTURES, PLAIN, SIGNING_IN, ALONE } = process.env;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const CLIENTS = ["claude-desktop", "claude-code", "vscode", "cursor", "zed", "generic"];
const SIZES = { phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 900 } };
const THEMES = ["light", "dark"];

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
});
after(() => browser.close());

/** Opens a page, runs `look`, and then holds the page to what must be so on every visit. */
async function visit(options, look) {
  const { url = PLAIN, path: place = "/", ...rest } = options;
  const context = await browser.newContext({
    viewport: SIZES.desktop,
    permissions: ["clipboard-read", "clipboard-write"],
    ...rest,
  });
  const page = await context.newPage();
  const complaints = [];
  const requests = [];
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(String(error)));
  // An icon in the page is "requested" too, but from nowhere.
  page.on("request", (request) => { if (!request.url().startsWith("data:")) requests.push(request.url()); });
  if (rest.javaScriptEnabled !== false) {
    await page.addInitScript(() => {
      globalThis.violations = [];
      document.addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(event.violatedDirective));
    });
  }
  await page.goto(url + place, { waitUntil: "networkidle" });
  const result = await look(page);
  if (rest.javaScriptEnabled !== false) assert.deepEqual(await page.evaluate(() => globalThis.violations), []);
  assert.deepEqual(complaints, []);
  assert.deepEqual(requests.map((request) => request.replace(/#.*/, "")), [`${url}/`]);
  await context.close();
  return result;
}

const everySize = Object.entries(SIZES).flatMap(([size, viewport]) =>
  THEMES.map((theme) => [`${size}-${theme}`, { viewport, colorScheme: theme }]));

async function open(page, client) {
  await page.locator(`#tab-${client}`).click();
  await page.evaluate(() => { for (const each of document.querySelectorAll("details")) each.open = true; });
}

async function ailments(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  return found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.target).join(" | ")}`);
}

for (const [name, look] of everySize) {
  test(`pictures: ${name}`, () => visit(look, async (page) => {
    await page.screenshot({ path: path.join(PICTURES, `${name}-top.png`) });
    await page.screenshot({ path: path.join(PICTURES, `${name}.png`), fullPage: true });
    await open(page, "vscode");
    await page.screenshot({ path: path.join(PICTURES, `${name}-open.png`), fullPage: true });
  }));

  test(`axe finds nothing, whichever tab is open: ${name}`, async () => {
    for (const url of [PLAIN, SIGNING_IN, ALONE]) {
      await visit({ ...look, url }, async (page) => {
        assert.deepEqual(await ailments(page), [], url);
        for (const client of CLIENTS) {
          await open(page, client);
          assert.deepEqual(await ailments(page), [], `${url} ${client}`);
        }
      });
    }
  });
}
