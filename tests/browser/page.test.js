// The page at "/" as people meet it: on a phone and on a desk, in light and dark, by mouse, by
// keyboard and without a script. tests/browser/run starts what this needs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const { CHROMIUM, PICTURES, PLAIN, SIGNING_IN, ALONE } = process.env;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const CLIENTS = [
  "claude-desktop",
  "claude-code",
  "vscode",
  "cursor",
  "zed",
  "codex",
  "gemini",
  "chatgpt",
  "generic",
];
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
  page.on("request", (request) => {
    if (!request.url().startsWith("data:")) requests.push(request.url());
  });
  if (rest.javaScriptEnabled !== false) {
    await page.addInitScript(() => {
      globalThis.violations = [];
      document.addEventListener("securitypolicyviolation", (event) =>
        globalThis.violations.push(event.violatedDirective),
      );
    });
  }
  await page.goto(url + place, { waitUntil: "networkidle" });
  const result = await look(page);
  if (rest.javaScriptEnabled !== false)
    assert.deepEqual(await page.evaluate(() => globalThis.violations), []);
  assert.deepEqual(complaints, []);
  assert.deepEqual(
    requests.map((request) => request.replace(/#.*/, "")),
    [`${url}/`],
  );
  await context.close();
  return result;
}

const everySize = Object.entries(SIZES).flatMap(([size, viewport]) =>
  THEMES.map((theme) => [`${size}-${theme}`, { viewport, colorScheme: theme }]),
);

async function open(page, client) {
  await page.locator(`#tab-${client}`).click();
  await page.evaluate(() => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
}

async function ailments(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() =>
    globalThis.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }),
  );
  return found.violations.map(
    (each) => `${each.id}: ${each.nodes.map((node) => node.target).join(" | ")}`,
  );
}

for (const [name, look] of everySize) {
  test(`pictures: ${name}`, () =>
    visit({ ...look, url: SIGNING_IN }, async (page) => {
      await page.screenshot({ path: path.join(PICTURES, `${name}-top.png`) });
      await page.screenshot({ path: path.join(PICTURES, `${name}.png`), fullPage: true });
      for (const client of CLIENTS) {
        await open(page, client);
        await page
          .locator("#connect")
          .screenshot({ path: path.join(PICTURES, `${name}-${client}.png`) });
      }
      await page.locator("#tools").screenshot({ path: path.join(PICTURES, `${name}-tools.png`) });
    }));

  test(`axe finds nothing, whichever tab is open: ${name}`, async () => {
    await visit({ ...look, url: ALONE }, async (page) =>
      assert.deepEqual(await ailments(page), []),
    );
    await visit({ ...look, url: SIGNING_IN }, async (page) => {
      assert.deepEqual(await ailments(page), []);
      for (const client of CLIENTS) {
        await open(page, client);
        assert.deepEqual(await ailments(page), [], client);
      }
    });
  });
}

test("nothing is wider than a small phone", async () => {
  for (const javaScriptEnabled of [true, false]) {
    await visit(
      { viewport: { width: 320, height: 640 }, url: SIGNING_IN, javaScriptEnabled },
      async (page) => {
        const fits = async (where) => {
          // Without scripts in the page, the width is told by a picture of all of it.
          const width = javaScriptEnabled
            ? await page.evaluate(() => document.scrollingElement.scrollWidth)
            : (await page.screenshot({ fullPage: true })).readUInt32BE(16);
          assert.equal(width, 320, where);
        };
        await fits("at first");
        if (!javaScriptEnabled) return;
        for (const client of CLIENTS) {
          await open(page, client);
          await fits(client);
        }
      },
    );
  }
});

test("every copy button copies what stands beside it", () =>
  visit({ url: SIGNING_IN }, async (page) => {
    let count = 0;
    for (const client of CLIENTS) {
      await open(page, client);
      for (const button of await page
        .locator(`#address + button, #${client} button[data-copy]`)
        .all()) {
        const text = await page.locator(`#${await button.getAttribute("data-copy")}`).textContent();
        await page.evaluate(() => navigator.clipboard.writeText("nothing"));
        await button.click();
        await button.getByText("Copied").waitFor();
        assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
        await page.getByRole("status").getByText("Copied", { exact: true }).waitFor();
        if (text.startsWith("{")) JSON.parse(text);
        assert.ok(!text.includes("Bearer ey"), text);
        count += 1;
      }
    }
    assert.ok(count > 25, `${count} buttons`);
    assert.equal(
      await page.locator("button").count(),
      count - CLIENTS.length + 1,
      "no button was left out",
    );
  }));

test("a button says so for a moment, and is itself again", () =>
  visit({}, async (page) => {
    const button = page.locator("#address + button");
    await button.press("Enter");
    await button.getByText("Copied").waitFor();
    await button.getByText("Copy", { exact: true }).waitFor();
    assert.equal(await button.getAttribute("class"), "");
  }));

test("where there is no clipboard, the old way copies", () =>
  visit({}, async (page) => {
    // What an earlier test copied is still there.
    await page.evaluate(() => navigator.clipboard.writeText("nothing"));
    await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
    await page.locator("#address + button").click();
    await page.locator("#address + button").getByText("Copied").waitFor();
    const other = await page.context().newPage();
    await other.goto(`${PLAIN}/`);
    assert.equal(await other.evaluate(() => navigator.clipboard.readText()), `${PLAIN}/mcp`);
  }));

test("tabs go by the arrow keys, and the address remembers them", () =>
  visit({}, async (page) => {
    const chosen = async () => {
      const tabs = page.getByRole("tab", { selected: true });
      assert.equal(await tabs.count(), 1);
      const id = await tabs.getAttribute("id");
      assert.equal(
        await page.evaluate(() => document.activeElement.id),
        id,
        "the chosen one has the focus",
      );
      const panels = await page.getByRole("tabpanel").all();
      assert.deepEqual(
        await Promise.all(panels.map((panel) => panel.getAttribute("id"))),
        [id.slice(4)],
        "one panel is seen",
      );
      assert.equal(await panels[0].getAttribute("aria-labelledby"), id);
      return id.slice(4);
    };
    assert.equal(
      await page.getByRole("tablist", { name: "Clients" }).getByRole("tab").count(),
      CLIENTS.length,
    );
    // From the copy button of the address, the next stop is the chosen tab, and the one after it
    // lies in its panel.
    await page.locator("#address + button").focus();
    await page.keyboard.press("Tab");
    assert.equal(await chosen(), CLIENTS[0]);
    for (const [key, client] of [
      ["ArrowRight", "claude-code"],
      ["ArrowRight", "vscode"],
      ["ArrowLeft", "claude-code"],
      ["End", "generic"],
      ["ArrowRight", "claude-desktop"],
      ["ArrowLeft", "generic"],
      ["Home", "claude-desktop"],
      ["ArrowRight", "claude-code"],
    ]) {
      await page.keyboard.press(key);
      assert.equal(await chosen(), client, key);
    }
    assert.equal(new URL(page.url()).hash, "#claude-code");
    await page.keyboard.press("Tab");
    assert.ok(
      await page.evaluate(() =>
        document.getElementById("claude-code").contains(document.activeElement),
      ),
    );
  }));

test("an address with a client's name opens its tab", () =>
  visit({ path: "/#cursor" }, async (page) => {
    assert.equal(await page.getByRole("tab", { selected: true }).textContent(), "Cursor");
    await page.evaluate(() => {
      location.hash = "zed";
    });
    await page.getByRole("tab", { name: "Zed", selected: true }).waitFor();
    assert.ok(
      (await page.locator("#zed").isVisible()) && !(await page.locator("#cursor").isVisible()),
    );
  }));

test("whoever goes by keyboard sees where they are, at every stop", () =>
  visit({}, async (page) => {
    await page.keyboard.press("Tab");
    assert.equal(
      await page.evaluate(() => document.activeElement.textContent),
      "Skip to the content",
    );
    const stops = new Set();
    for (let stop = 0; stop < 60; stop += 1) {
      const seen = await page.evaluate(() => {
        const here = document.activeElement;
        if (here === document.body) return null;
        const style = getComputedStyle(here);
        const box = here.getBoundingClientRect();
        return {
          what: here.outerHTML.slice(0, 80),
          outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
          there: box.width > 0 && box.top >= 0,
        };
      });
      if (!seen) break;
      assert.ok(seen.outlined && seen.there, JSON.stringify(seen));
      stops.add(seen.what);
      await page.keyboard.press("Tab");
    }
    assert.ok(stops.size > 12, `${stops.size} stops`);
  }));

test("links that install carry this server and ask for the token", () =>
  visit({ url: SIGNING_IN }, async (page) => {
    const links = await page.locator("a.button").evaluateAll((all) => all.map((link) => link.href));
    assert.equal(links.length, 6);
    for (const link of links) {
      const url = new URL(link);
      const server =
        url.protocol === "vscode:"
          ? JSON.parse(decodeURIComponent(url.search.slice(1)))
          : JSON.parse(Buffer.from(url.searchParams.get("config"), "base64").toString());
      if (url.protocol === "cursor:") {
        assert.equal(url.host + url.pathname, "anysphere.cursor-deeplink/mcp/install");
        server.name = url.searchParams.get("name");
      } else {
        assert.equal(url.protocol + url.pathname, "vscode:mcp/install");
      }
      assert.equal(server.name, "toolbridge");
      assert.equal(server.url ?? server.args[1], "https://acme.example.com/mcp");
      if (server.headers)
        assert.match(
          server.headers.Authorization,
          /^Bearer \$\{(env:TOOLBRIDGE_TOKEN|input:toolbridge-token)\}$/,
        );
      if (server.inputs) assert.equal(server.inputs[0].password, true);
    }
  }));

test("without a script everything is there to be read", () =>
  visit({ javaScriptEnabled: false, url: SIGNING_IN }, async (page) => {
    for (const client of CLIENTS) {
      assert.ok(await page.locator(`#${client} h3`).isVisible(), client);
      for (const way of await page.locator(`#${client} details`).all()) {
        if ((await way.getAttribute("open")) === null) await way.locator("summary").click();
        for (const code of await way.locator("pre code").all())
          assert.ok(await code.isVisible(), client);
      }
    }
    for (const toolset of await page.locator(".toolset").all()) {
      await toolset.locator("summary").click();
      const all = await toolset.locator("li").count();
      assert.ok(all > 0);
      assert.equal(await toolset.locator("li:visible").count(), all);
    }
    assert.equal(await page.locator("button:visible").count(), 0, "no button that does nothing");
    assert.equal(await page.locator("[role=tab], [role=tablist]").count(), 0);
    await page.screenshot({ path: path.join(PICTURES, "without-script.png"), fullPage: true });
  }));

test("it says whether it is ready and whether one can sign in", async () => {
  const shown = (url) =>
    visit({ url }, async (page) => [
      await page.locator(".health").textContent(),
      (await page.getByText("By signing in").count()) > 0,
      await page.locator("#address").textContent(),
    ]);
  assert.deepEqual(await shown(PLAIN), ["Ready", false, `${PLAIN}/mcp`]);
  assert.deepEqual(await shown(SIGNING_IN), ["Ready", true, "https://acme.example.com/mcp"]);
  assert.deepEqual(await shown(ALONE), ["Not ready", false, `${ALONE}/mcp`]);
});

test("nothing moves for those who asked for that", () =>
  visit({ reducedMotion: "reduce" }, async (page) => {
    const moving = await page.evaluate(
      () =>
        [...document.querySelectorAll("*")].filter((element) => {
          const style = getComputedStyle(element);
          return (
            style.scrollBehavior !== "auto" ||
            style.transitionDuration !== "0s" ||
            style.animationName !== "none"
          );
        }).length,
    );
    assert.equal(moving, 0);
  }));
