// A user at a real browser, who signs in and allows access. Prints where the browser was sent.
//
//   node chromium.mjs '{"url", "name", "password", "callback", "pictures"}'
//
// "callback" is the beginning of that address. "pictures" is a folder, or nothing.
import { chromium } from "playwright-core";

const { url, name, password, callback, pictures } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox"],
});
const page = await browser.newPage({ viewport: { width: 600, height: 600 } });
const problems = [];
page.on("console", (message) => problems.push(message.text()));
page.on("pageerror", (error) => problems.push(String(error)));
const picture = async (name) => pictures && page.screenshot({ path: `${pictures}/${name}.png` });

const sent = new Promise((resolve) => {
  // Answered here, since the client may listen nowhere.
  page.route(`${callback}*`, (route) => {
    resolve(route.request().url());
    return route.fulfill({ body: "done" });
  });
});
await page.goto(url);
await page.getByLabel("Name").fill(name);
await page.getByLabel("Password").fill(password);
await picture("login-sign-in");
await page.getByRole("button", { name: "Sign in" }).click();
await page.getByRole("button", { name: "Allow" }).waitFor();
const text = await page.locator("body").innerText();
await picture("login-allow");
await page.getByRole("button", { name: "Allow" }).click();
console.log(JSON.stringify({ sent: await sent, text, problems }));
await browser.close();
