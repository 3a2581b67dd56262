// A tenant's admin and a member of it, in a real browser: staff lets the admin in, the admin makes a key, restricts it, sees what it
// used and lets a member in, who sees nothing of that. Prints what was seen as one line of JSON; the Python test judges it.
// `node tenant.mjs '{"setup_url", "admin_url", "gateway_url", "sim_url", "chromium", "shots"}'`
import { chromium } from "playwright-core";

const given = JSON.parse(process.argv[2]);
const TIMEOUT_MS = 30_000;
const PASSWORD = "correct horse battery staple";
const seen = { console_errors: [], failed: [], pages: {} };

const browser = await chromium.launch({ executablePath: given.chromium, args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-US" });
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT_MS);
page.on("pageerror", (error) => seen.console_errors.push(String(error)));
// Nobody is signed in yet, or the form is meant to be refused; anything else is a page that asks for what is not its reader's.
page.on("response", (response) => {
  if (response.status() >= 400 && ![401, 422].includes(response.status()))
    seen.failed.push(`${response.status()} ${response.request().method()} ${new URL(response.url()).pathname}`);
});

const field = (name) => page.getByLabel(name, { exact: true }).first();
const submit = (name) => page.locator("form").getByRole("button", { name, exact: true }).click();
const open = (path) => page.goto(given.admin_url + path);
async function choose(label, option) {
  await field(label).click();
  await page.getByRole("option", { name: option, exact: true }).click();
}
/** As the dashboard would, without its forms. */
async function post(path, body) {
  const answer = await page.evaluate(
    async ([path, body]) => {
      const answer = await fetch(`/admin/v1${path}`, {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
      });
      return { status: answer.status, body: await answer.json() };
    },
    [path, body],
  );
  if (answer.status !== 201) throw new Error(`${path}: ${JSON.stringify(answer)}`);
  return answer.body;
}
async function signIn(email) {
  await open("/sign-in");
  await field("E-mail").fill(email);
  await field("Password").fill(PASSWORD);
  await submit("Sign in");
  await page.getByRole("link", { name: "API keys" }).waitFor();
}
async function signOut() {
  await page.getByRole("button", { name: /Owner|Tenant/ }).last().click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await field("E-mail").waitFor();
}
async function note(who, name) {
  await page.waitForLoadState("networkidle");
  seen.pages[`${who} ${name}`] = await page.locator("body").innerText();
  if (given.shots) await page.screenshot({ path: `${given.shots}/${who}-${name.replaceAll("/", "_")}.png`, fullPage: true });
}
const nav = async () => (await page.locator("nav").getByRole("link").allInnerTexts()).map((text) => text.trim());

let step = "start";
try {
  step = "set up";
  await page.goto(given.setup_url);
  await field("Your name").fill("Olga Owner");
  await field("E-mail").fill("olga@example.com");
  await field("Password").fill(PASSWORD);
  await submit("Create account");
  await page.getByRole("link", { name: "Tenants" }).first().waitFor();
  const upstream = await post("/upstreams", {
    name: "zq7upstream", dialect: "anthropic", base_url: given.sim_url, credentials: [{ name: "zq7credential", secret: "sk-upstream-0001" }],
  });
  await post("/models", {
    name: "smart", targets: [{ upstream_id: upstream.id, upstream_model: "plain" }],
    price: { currency: "USD", prices: { input_uncached: "3.17", output_text: "15.13" } },
  });
  const acme = await post("/tenants", {
    name: "acme", limits: { requests_per_minute: 60, concurrency: 5 }, budget: { amount: "25", currency: "USD", period: "month" },
  });
  const other = await post("/tenants", { name: "zq7other" });
  await post("/api-keys", { tenant_id: other.id, name: "zq7key" });
  await post("/projects", { tenant_id: acme.id, name: "web", limits: { requests_per_minute: 40 } });

  step = "staff lets an admin in";
  await open("/people");
  await page.getByRole("button", { name: "Add person" }).click();
  const form = page.getByRole("dialog");
  await form.getByLabel("E-mail address").fill("ada@example.com");
  await form.getByLabel("Name", { exact: true }).fill("Ada Admin");
  await form.getByLabel("Role", { exact: true }).first().click();
  await page.getByRole("option", { name: "Tenant admin", exact: true }).click();
  await form.getByLabel("Tenant", { exact: true }).first().click();
  await page.getByRole("option", { name: "acme", exact: true }).click();
  await form.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await form.getByRole("button", { name: "Add person" }).click();
  await page.getByRole("cell", { name: "ada@example.com" }).waitFor();
  await note("staff", "people");
  await signOut();

  step = "the admin's pages";
  await signIn("ada@example.com");
  seen.admin_nav = await nav();
  await note("admin", "home-empty");

  step = "a key";
  await open("/keys/new");
  await field("Name").fill("ci");
  await choose("Project", "web");
  await submit("Create key");
  const secret = (await page.getByTestId("secret").textContent()).trim();
  await note("admin", "key-made");
  const call = async (path, body) => {
    const answer = await fetch(`${given.gateway_url}${path}`, {
      method: "POST", headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" }, body: JSON.stringify(body),
    });
    return answer.status;
  };
  const chat = () => call("/v1/chat/completions", { model: "smart", messages: [{ role: "user", content: "words=20" }] });
  // The data plane hears of a new key a moment later.
  for (let left = 20; left > 0 && (seen.status = await chat()) !== 200; left--) await page.waitForTimeout(250);

  step = "restrict the key";
  await open("/keys");
  await page.getByRole("cell", { name: "ci" }).first().click();
  await page.getByRole("link", { name: "Edit" }).click();
  await field("Requests a minute").fill("41");
  await choose("Endpoints", "messages");
  await page.keyboard.press("Escape");
  await submit("Save changes");
  await page.getByText("At most 40").first().waitFor();
  await note("admin", "key-beyond");
  await field("Requests a minute").fill("30");
  await submit("Save changes");
  await page.getByRole("dialog").getByText("messages", { exact: true }).waitFor();
  await note("admin", "key");
  for (let left = 20; left > 0 && (seen.status_restricted = await chat()) === 200; left--) await page.waitForTimeout(250);

  step = "what it used";
  for (let left = 20; left > 0; left--) {
    await open("/requests");
    await page.waitForLoadState("networkidle");
    if ((await page.locator("table tbody tr").count()) > 0) break;
  }
  await page.locator("table tbody tr").last().click();
  await page.getByText("The provider's own count").or(page.getByText("Counted by the provider")).first().waitFor();
  await note("admin", "request");
  for (const path of ["", "tenants", "available-models", "people", "bills", "audit"]) {
    step = `the admin's /${path}`;
    await open(`/${path}`);
    await note("admin", path || "home");
  }
  await open("/bills");
  await page.getByRole("cell", { name: "acme" }).first().click();
  await page.getByText("Exact sum").first().waitFor();
  await note("admin", "bill");

  step = "the admin lets a member in";
  await open("/people");
  await page.getByRole("button", { name: "Add person" }).click();
  seen.roles_to_give = [];
  await form.getByLabel("Role", { exact: true }).first().click();
  seen.roles_to_give = await page.getByRole("option").allInnerTexts();
  await page.getByRole("option", { name: "Tenant member", exact: true }).click();
  await form.getByLabel("E-mail address").fill("mo@example.com");
  await form.getByLabel("Name", { exact: true }).fill("Mo Member");
  await form.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await form.getByRole("button", { name: "Add person" }).click();
  await page.getByRole("cell", { name: "mo@example.com" }).waitFor();
  await signOut();

  step = "the member's pages";
  await signIn("mo@example.com");
  seen.member_nav = await nav();
  await note("member", "home-empty");
  await open("/keys/new");
  await field("Name").fill("own");
  await submit("Create key");
  await page.getByTestId("secret").waitFor();
  for (const path of ["", "keys", "requests", "available-models"]) {
    step = `the member's /${path}`;
    await open(`/${path}`);
    await note("member", path || "home");
  }
  await open("/keys");
  await page.getByRole("cell", { name: "own" }).first().click();
  await page.getByRole("button", { name: "Rotate key" }).waitFor();
  await note("member", "key");
  step = "done";
} catch (error) {
  seen.error = String(error);
  seen.text = await page.locator("body").innerText().catch(() => "");
  if (given.shots) await page.screenshot({ path: `${given.shots}/failed.png` }).catch(() => {});
} finally {
  seen.step = step;
  console.log(JSON.stringify(seen));
  await browser.close();
}
