// The first hour of an operator, in a real browser: set up, make a tenant, an upstream, a model and a key, send real requests,
// and find their rows, charges and bill. Prints what was seen as one line of JSON; the Python test judges it.
// `node dashboard.mjs '{"setup_url", "admin_url", "gateway_url", "sim_url", "chromium", "folder"}'`
import { chromium } from "playwright-core";

const given = JSON.parse(process.argv[2]);
const TIMEOUT_MS = 30_000;
const REQUESTS = 3;
const PRICES = {
  Input: "3.17", "Cache read": "0.31", "Cache write, 5 min": "3.75", "Cache write, 1 h": "6.01", Output: "15.13", Reasoning: "14.07",
};
const seen = { console_errors: [] };

const browser = await chromium.launch({ executablePath: given.chromium, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, acceptDownloads: true, locale: "en-US" });
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT_MS);
page.on("pageerror", (error) => seen.console_errors.push(String(error)));
page.on("console", (message) => {
  if (message.type() === "error" && !message.text().includes("401")) seen.console_errors.push(message.text());
});

const field = (name) => page.getByLabel(name, { exact: true }).first();
const submit = (name) => page.locator("form").getByRole("button", { name, exact: true }).click();
const open = (path) => page.goto(given.admin_url + path);
async function choose(label, option) {
  await field(label).click();
  await page.getByRole("option", { name: option, exact: true }).click();
}

let step = "start";
try {
  step = "set up";
  await page.goto(given.setup_url);
  await field("Your name").fill("Olga Owner");
  await field("E-mail").fill("olga@example.com");
  await field("Password").fill("short");
  await submit("Create account");
  await page.getByText("Use at least 15 characters.").first().waitFor();
  await field("Password").fill("correct horse battery staple");
  await submit("Create account");
  await page.getByRole("link", { name: "Tenants" }).first().waitFor();

  step = "tenant";
  await open("/tenants/new");
  await field("Name").fill("acme");
  await submit("Create tenant");
  await page.getByText("acme").first().waitFor();

  step = "upstream";
  await open("/upstreams/new");
  await choose("Dialect", "Anthropic Messages");
  await field("Name").fill("simulated");
  await field("Base URL").fill(given.sim_url);
  await field("Secret").fill("sk-dashboard-upstream-0001");
  await submit("Add upstream");
  await page.getByText("simulated").first().waitFor();

  step = "model";
  await open("/models/new");
  await field("Public name").fill("smart");
  await choose("Upstream", "simulated");
  await field("Model there").fill("dashboard-model-thinking");
  for (const [name, price] of Object.entries(PRICES)) await field(name).fill(price);
  await submit("Add model");
  await page.getByText("smart").first().waitFor();

  step = "key";
  await open("/keys/new");
  await choose("Tenant", "acme");
  await field("Name").fill("ci");
  await submit("Create key");
  const secret = (await page.getByTestId("secret").textContent()).trim();
  seen.secret_form = /^sk-tg1_[0-9A-Za-z]+$/.test(secret);

  step = "requests";
  seen.statuses = [];
  for (let number = 0; number < REQUESTS; number++) {
    const answer = await fetch(`${given.gateway_url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "smart", messages: [{ role: "user", content: `words=${20 + number} ${"long ".repeat(60)}` }] }),
    });
    seen.statuses.push(answer.status);
    seen.last_answer = await answer.text();
  }

  step = "rows";
  // A record is in the list a moment after its call has ended: a page that was opened sooner is opened again.
  const areListed = () =>
    page.waitForFunction((count) => document.querySelectorAll("table tbody tr").length >= count, REQUESTS, { timeout: 3000 });
  for (let left = 10; left > 0; left--) {
    await open("/requests");
    if (await areListed().then(() => true, () => left === 1 && areListed())) break;
  }
  seen.rows = await page.locator("table tbody tr").allInnerTexts();
  await page.locator("table tbody tr").first().click();
  await page.getByText("The provider's own count").first().waitFor();
  seen.drawer = await page.getByRole("dialog").innerText();

  step = "route";
  await open("/routes/new");
  await field("Name").fill("nightly");
  await field("Tags").fill("night");
  await field("Tags").press("Enter");
  await choose("Upstream", "simulated");
  await field("Model there").fill("dashboard-model-plain");
  await submit("Add route");
  await page.getByRole("cell", { name: "Tags night" }).waitFor();

  step = "explain";
  await open("/routes");
  await choose("Model", "smart");
  await field("Tags").fill("night");
  await field("Tags").press("Enter");
  const explained = page.getByRole("heading", { name: "Attempts, in order" });
  // The data plane hears of a new route a moment later.
  await page.waitForFunction(() => document.querySelectorAll("table tbody tr").length === 1);
  await submit("Explain");
  await explained.waitFor();
  seen.explained = await page.locator("main").innerText();

  step = "live";
  await open("/live");
  await page.getByText("Nothing in flight").waitFor();

  step = "health";
  await open("/upstreams");
  await page.locator("table tbody tr").first().click();
  await page.getByRole("dialog").getByText("Closed: requests pass").waitFor();
  seen.health = await page.getByRole("dialog").innerText();

  step = "bill";
  await open("/bills");
  await page.getByRole("cell", { name: "acme" }).first().click();
  await page.getByText("Exact sum").first().waitFor();
  seen.bill = await page.locator("main").innerText();
  const download = page.waitForEvent("download");
  await page.getByText("Download CSV").first().click();
  const file = `${given.folder}/bill.csv`;
  await (await download).saveAs(file);
  seen.csv = file;

  step = "secrets stay hidden";
  await open("/keys");
  await page.getByText("ci").first().waitFor();
  seen.secret_in_list = (await page.content()).includes(secret);
  await open("/upstreams");
  await page.getByText("simulated").first().waitFor();
  seen.upstream_secret_in_list = (await page.content()).includes("sk-dashboard-upstream-0001");

  step = "project and budget";
  await open("/tenants");
  await page.locator("table tbody tr").first().click();
  const dialog = (name) => page.getByRole("dialog", { name, exact: true });
  await page.getByRole("button", { name: "Add project" }).click();
  await dialog("Add project").getByLabel("Name", { exact: true }).fill("search");
  await dialog("Add project").getByRole("button", { name: "Add project" }).click();
  await page.getByRole("table", { name: "Projects" }).getByText("search").waitFor();
  await page.getByRole("button", { name: "Add budget" }).click();
  await dialog("Add budget").getByRole("combobox").or(dialog("Add budget").getByRole("textbox")).first().click();
  await page.getByRole("option", { name: "API key", exact: true }).click();
  await dialog("Add budget").getByLabel("API key", { exact: true }).first().click();
  await page.getByRole("option", { name: "ci", exact: true }).click();
  await dialog("Add budget").getByLabel("Amount", { exact: true }).fill("0.001");
  await dialog("Add budget").getByRole("button", { name: "Add budget" }).click();
  const budgets = page.getByRole("table", { name: "Budgets" });
  await budgets.getByText("ci", { exact: true }).waitFor();
  // What was spent before counts, once the gateway has opened the budget's window.
  for (let left = 20; left > 0 && !(await budgets.innerText()).includes("Used up"); left--) {
    await page.waitForTimeout(250);
    await page.reload();
    await budgets.getByText("ci", { exact: true }).waitFor();
  }
  seen.budgets = await budgets.innerText();
  await page.getByRole("button", { name: "Actions for the budget of ci" }).click();
  await page.getByRole("menuitem", { name: "Remove" }).click();
  await page.getByLabel("Type ci to confirm").fill("ci");
  await page.getByRole("dialog").last().getByRole("button", { name: "Remove" }).click();
  await budgets.waitFor({ state: "detached" });

  step = "rotate";
  await open("/keys");
  await page.locator("table tbody tr").first().click();
  await page.getByRole("button", { name: "Rotate key" }).click();
  await page.getByRole("button", { name: "Rotate key" }).last().click();
  const successor = (await page.getByTestId("secret").textContent()).trim();
  await page.getByRole("button", { name: "Done" }).click();
  await page.getByText("The old secret is good until").waitFor();
  const modelsWith = async (key) =>
    (await fetch(`${given.gateway_url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
  for (let left = 20; left > 0 && (await modelsWith(successor)) !== 200; left--) await page.waitForTimeout(250);
  seen.statuses_after_rotation = [await modelsWith(successor), await modelsWith(secret)];

  step = "revoke";
  await open("/keys");
  await page.locator("table tbody tr").first().click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke key" }).click();
  await page.getByLabel("Type ci to confirm").fill("ci");
  await page.getByRole("button", { name: "Revoke key" }).last().click();
  await page.getByText("Revoked", { exact: true }).first().waitFor();
  seen.status_after_revocation = await modelsWith(secret);

  step = "sign out";
  await context.clearCookies();
  await open("/tenants");
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  step = "done";
} catch (error) {
  seen.error = String(error).slice(0, 1500);
  seen.page = (await page.locator("body").innerText().catch(() => "")).slice(0, 3000);
  await page.screenshot({ path: `${given.folder}/failed.png` }).catch(() => {});
}
seen.step = step;
console.log(JSON.stringify(seen));
await browser.close();
