// Screenshots of every page: `node dev/shots.mjs [folder] [name filter]`, against the built site and the mock API.
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { preview } from "vite";

const folder = process.argv[2] ?? "dev/shots";
const only = process.argv[3] ? new RegExp(process.argv[3]) : /./;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

const PAGES = [
  ["sign-in", "/sign-in", "signed-out"],
  ["setup", "/setup#token", "signed-out"],
  ["overview", "/"],
  ["overview-empty", "/", "empty"],
  ["requests", "/requests"],
  ["requests-empty", "/requests", "empty"],
  ["requests-failing", "/requests", "failing"],
  ["request", "/requests", "full", "tbody tr"],
  ["tenants", "/tenants"],
  ["tenants-empty", "/tenants", "empty"],
  ["tenants-failing", "/tenants", "failing"],
  ["tenant", "/tenants", "full", "tbody tr"],
  ["tenant-new", "/tenants/new"],
  ["keys", "/keys"],
  ["keys-empty", "/keys", "empty"],
  ["key", "/keys", "full", "tbody tr"],
  ["key-rotate", "/keys", "full", "tbody tr", "section section button"],
  ["key-new", "/keys/new"],
  ["upstreams", "/upstreams"],
  ["upstreams-empty", "/upstreams", "empty"],
  ["upstream", "/upstreams", "full", "tbody tr", "[data-testid=test]"],
  ["upstream-new", "/upstreams/new"],
  ["models", "/models"],
  ["models-empty", "/models", "empty"],
  ["model", "/models", "full", "tbody tr"],
  ["model-new", "/models/new"],
  ["routes", "/routes"],
  ["routes-empty", "/routes", "empty"],
  ["route", "/routes", "full", "tbody tr:nth-child(2)"],
  ["route-new", "/routes/new"],
  ["live", "/live"],
  ["live-empty", "/live", "empty"],
  ["bills", "/bills"],
  ["bills-empty", "/bills", "empty"],
  ["bill", "/bills", "full", "tbody tr"],
  ["audit", "/audit"],
  ["audit-event", "/audit", "full", "tbody tr"],
];
const LOOKS = [
  ["1440-light-en", { width: 1440, height: 900 }, "light", "en"],
  ["1440-dark-zh", { width: 1440, height: 900 }, "dark", "zh-CN"],
  ["390-light-zh", { width: 390, height: 844 }, "light", "zh-CN"],
  ["390-dark-en", { width: 390, height: 844 }, "dark", "en"],
];

mkdirSync(folder, { recursive: true });
const server = await preview({ preview: { port: 0, host: "127.0.0.1" }, logLevel: "error" });
const base = server.resolvedUrls.local[0].replace(/\/$/, "");
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
let errors = 0;
for (const [look, viewport, colorScheme, locale] of LOOKS) {
  const context = await browser.newContext({
    viewport,
    colorScheme,
    locale,
    reducedMotion: "reduce",
  });
  for (const [name, path, scenario = "full", ...clicks] of PAGES) {
    if (!only.test(`${name} ${look}`)) continue;
    await context.addCookies([{ name: "tallygate-mock", value: scenario, url: base }]);
    const page = await context.newPage();
    const report = (text) => {
      errors += 1;
      console.error(`${name} ${look}: ${text}`);
    };
    page.on("pageerror", (error) => report(error.message));
    page.on("console", (message) => {
      if (message.type() === "error" && !/status of (401|503)/.test(message.text())) {
        report(message.text());
      }
    });
    await page.goto(base + path, { waitUntil: "networkidle" });
    for (const click of clicks) {
      await page.locator(click).first().click();
      await page.waitForLoadState("networkidle");
    }
    await page.waitForTimeout(scenario === "failing" ? 2_000 : 350);
    const wide = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    if (wide > 0) report(`${wide} px wider than the screen`);
    await page.screenshot({ path: `${folder}/${name}.${look}.png`, fullPage: clicks.length === 0 });
    await page.close();
  }
  await context.close();
}
await browser.close();
await server.close();
console.log(errors === 0 ? "no page error" : `${errors} errors`);
process.exit(errors === 0 ? 0 : 1);
