import type { components } from "../../src/api/schema.gen.ts";

type Schemas = components["schemas"];

/** A small, seeded generator (mulberry32): the same picture at every start. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const next = random(20_261_122);
const pick = <Item>(items: readonly Item[]): Item =>
  items[Math.floor(next() * items.length)] as Item;
const HOUR = 3_600_000;
const now = Date.now();
const iso = (ms: number) => new Date(ms).toISOString();
let counter = 0;

export function id(prefix: string): string {
  counter += 1;
  const tail = Math.floor(next() * 2 ** 40).toString(16);
  return `${prefix}_0199f3a07c127${counter.toString(16).padStart(5, "0")}${tail.padStart(14, "0")}`;
}

export const stamps = (hoursAgo: number, version = 1) => ({
  version,
  managed_by: "api" as const,
  created_at: iso(now - hoursAgo * HOUR),
  updated_at: iso(now - (hoursAgo / 3) * HOUR),
});

const NO_LIMITS: Schemas["Limits"] = {
  requests_per_minute: null,
  tokens_per_minute: null,
  concurrency: null,
};

const tenant = (
  name: string,
  budget: string | null,
  more: Partial<Schemas["Tenant"]> = {},
): Schemas["Tenant"] => ({
  id: id("ten"),
  name,
  status: "active",
  suspended_message: null,
  time_zone: "Europe/Berlin",
  limits: { requests_per_minute: 600, tokens_per_minute: 200_000, concurrency: 50 },
  model_limits: {},
  end_user_limits: NO_LIMITS,
  budget: budget ? { amount: budget, currency: "USD", period: "month" } : null,
  billing: { mode: "postpaid", currency: "USD", balance_alert: null, alert_emails: [] },
  allowed_models: null,
  responses: {
    mode: "stateless",
    lifetime_hours: 720,
    max_bytes: 268_435_456,
    max_count: 10_000,
  },
  ...stamps(900 + counter * 40, 3),
  ...more,
});

export const tenants: Schemas["Tenant"][] = [
  tenant("acme", "400.00"),
  tenant("northwind-traders", "100.00", { allowed_models: ["smart", "fast"] }),
  tenant("globex", null, { time_zone: "Asia/Shanghai", limits: NO_LIMITS }),
  tenant("initech-internal-tools", "25.00", { time_zone: "America/Los_Angeles" }),
  tenant("hooli", "1000.00", {
    model_limits: {
      smart: { requests_per_minute: 60, tokens_per_minute: 50_000, concurrency: null },
    },
    end_user_limits: { requests_per_minute: 30, tokens_per_minute: null, concurrency: 2 },
    status: "suspended",
    suspended_message: "Payment is overdue; write to billing@example.com.",
  }),
];

const upstreamId = { anthropic: id("ups"), openai: id("ups"), gemini: id("ups"), local: id("ups") };

const credential = (
  upstream_id: string,
  name: string,
  status: Schemas["Enabled"] = "active",
): Schemas["Credential"] => ({
  id: id("crd"),
  upstream_id,
  name,
  fingerprint: Math.floor(next() * 2 ** 32)
    .toString(16)
    .padStart(8, "0"),
  last4: pick(["x9Qa", "77Lm", "pK2d", "0aZt"]),
  proxy: null,
  status,
  weight: 1,
  limits: {
    requests_per_minute: null,
    tokens_per_minute: null,
    concurrency: null,
    daily_spend: null,
  },
  retires_at: null,
  ...stamps(300),
});

const TIMEOUTS = {
  connect_ms: 5_000,
  first_byte_ms: 120_000,
  first_token_ms: null,
  stream_idle_ms: 60_000,
  total_ms: null,
};

const upstream = (
  key: keyof typeof upstreamId,
  name: string,
  dialect: Schemas["Dialect"],
  base_url: string,
  credentials: Schemas["Credential"][],
  more: Partial<Schemas["Upstream"]> = {},
): Schemas["Upstream"] => ({
  id: upstreamId[key],
  name,
  dialect,
  base_url,
  proxy: null,
  no_proxy: [],
  local: key === "local",
  credential_strategy: "weighted",
  status: "active",
  timeouts: TIMEOUTS,
  credentials,
  ...stamps(700, 2),
  ...more,
});

export const upstreams: Schemas["Upstream"][] = [
  upstream("anthropic", "anthropic-main", "anthropic", "https://api.anthropic.com", [
    credential(upstreamId.anthropic, "team-a"),
    credential(upstreamId.anthropic, "team-b"),
    credential(upstreamId.anthropic, "old", "disabled"),
  ]),
  upstream(
    "openai",
    "openai-eu",
    "openai-responses",
    "https://eu.api.openai.com/v1",
    [credential(upstreamId.openai, "primary")],
    { proxy: "socks5://egress:***@10.0.4.20:1080" },
  ),
  upstream("gemini", "gemini", "gemini", "https://generativelanguage.googleapis.com", []),
  upstream(
    "local",
    "local-vllm",
    "openai-chat",
    "http://10.0.8.12:8000/v1",
    [credential(upstreamId.local, "none")],
    { status: "disabled" },
  ),
];

export const price = (
  model_id: string,
  prices: Schemas["ClassPrices"],
  hoursAgo: number,
): Schemas["PriceVersion"] => ({
  id: id("prc"),
  model_id,
  currency: "USD",
  valid_from: iso(now - hoursAgo * HOUR),
  prices,
  created_at: iso(now - hoursAgo * HOUR),
  created_by: "dana@example.com",
  source: null,
});

const modelId = { smart: id("mod"), fast: id("mod"), vision: id("mod"), draft: id("mod") };
const SMART = {
  input_uncached: "3.00",
  input_cache_read: "0.30",
  input_cache_write_5m: "3.75",
  input_cache_write_1h: "6.00",
  output_text: "15.00",
};

export const prices: Record<string, Schemas["PriceVersion"][]> = {
  [modelId.smart]: [
    price(modelId.smart, SMART, 200),
    price(modelId.smart, { ...SMART, input_uncached: "3.30", output_text: "16.50" }, 1400),
  ],
  [modelId.fast]: [
    price(
      modelId.fast,
      { input_uncached: "0.25", input_cache_read: "0.025", output_text: "2.00" },
      700,
    ),
  ],
  [modelId.vision]: [
    price(
      modelId.vision,
      { input_uncached: "1.25", input_image: "1.25", output_text: "10.00" },
      400,
    ),
  ],
  [modelId.draft]: [],
};

const target = (
  key: keyof typeof upstreamId,
  upstream_model: string,
  weight: number,
  priority: number,
): Schemas["Target"] => ({
  id: id("tgt"),
  upstream_id: upstreamId[key],
  upstream: upstreams.find(({ id: known }) => known === upstreamId[key])?.name ?? "",
  upstream_model,
  weight,
  priority,
  arm: null,
  price_model: null,
  cost: null,
  capabilities: { context_tokens: null, images: null, documents: null, tools: null },
});

const model = (
  key: keyof typeof modelId,
  targets: Schemas["Target"][],
  more: Partial<Schemas["Model"]> = {},
): Schemas["Model"] => ({
  id: modelId[key],
  name: key,
  aliases: [],
  status: "active",
  strict: false,
  routing: { strategy: "weighted", affinity: "auto", split: null, hedge: null },
  targets,
  price: prices[modelId[key]]?.[0] ?? null,
  ...stamps(600, 4),
  ...more,
});

export const models: Schemas["Model"][] = [
  model(
    "smart",
    [
      target("anthropic", "claude-sonnet-5-5", 9, 1),
      target("openai", "gpt-5.2", 1, 1),
      target("local", "qwen3-235b", 1, 2),
    ],
    { aliases: ["gemini-3-pro-preview"] },
  ),
  model("fast", [target("openai", "gpt-5.2-mini", 1, 1)]),
  model("vision", [target("gemini", "gemini-3-pro", 1, 1)], { strict: true }),
  model("draft", [], { status: "disabled" }),
];

export const keys: Schemas["ApiKey"][] = tenants.flatMap((owner, index) =>
  ["ci", "production", "notebook"].slice(0, 1 + (index % 3)).map((name): Schemas["ApiKey"] => ({
    id: id("key"),
    tenant_id: owner.id,
    name,
    prefix: `sk-tg1_${pick(["a8Kq02Zx", "Lm29dQpT", "zz81KwRb", "Tq7Xn0Pd"])}`,
    last4: pick(["9fQz", "k2Vd", "Xw8p"]),
    created_by: null,
    status: name === "notebook" ? "revoked" : index === 3 ? "expired" : "active",
    expires_at: index === 3 ? iso(now - 20 * HOUR) : null,
    limits: NO_LIMITS,
    allowed_models: index === 1 ? ["fast"] : null,
    allowed_endpoints: index === 1 ? ["chat_completions", "responses"] : null,
    allowed_networks: index === 1 ? ["192.0.2.0/24"] : null,
    project: name === "ci" && index === 4 ? "nightly" : null,
    previous_expires_at: name === "production" ? iso(now + 5 * HOUR) : null,
    tags: name === "ci" ? ["batch"] : [],
    last_used_at: name === "notebook" ? null : iso(now - next() * 30 * HOUR),
    ...stamps(500 - index * 30),
  })),
);

const ANYTHING: Schemas["RouteMatch"] = {
  models: [],
  tenants: [],
  projects: [],
  tags: [],
  headers: {},
  min_input_tokens: null,
  max_input_tokens: null,
};

export const routes: Schemas["Route"][] = [
  {
    id: id("rte"),
    name: "batch-to-cheap",
    position: 10,
    status: "active",
    match: { ...ANYTHING, tags: ["batch", "nightly"], models: ["smart", "fast"] },
    routing: { strategy: "cost", affinity: "off", split: null, hedge: null },
    targets: [target("gemini", "gemini-3-flash", 1, 1), target("local", "qwen3-235b", 1, 2)],
    ...stamps(90, 2),
  },
  {
    id: id("rte"),
    name: "try-the-new-model",
    position: 20,
    status: "active",
    match: { ...ANYTHING, models: ["smart"], headers: { "x-team": "search*" } },
    routing: {
      strategy: "latency",
      affinity: "auto",
      split: {
        by: "user",
        arms: [
          { name: "current", weight: 9 },
          { name: "candidate", weight: 1 },
        ],
      },
      hedge: { after_ms: 2_000, max_percent: 5, daily_spend: "5" },
    },
    targets: [
      { ...target("anthropic", "claude-sonnet-5-5", 1, 1), arm: "current" },
      { ...target("openai", "gpt-5.2", 1, 1), arm: "candidate" },
      target("local", "qwen3-235b", 1, 2),
    ],
    ...stamps(40, 5),
  },
  {
    id: id("rte"),
    name: "long-prompts",
    position: 30,
    status: "disabled",
    match: { ...ANYTHING, min_input_tokens: 200_000 },
    routing: { strategy: "weighted", affinity: "auto", split: null, hedge: null },
    targets: [target("gemini", "gemini-3-pro", 1, 1)],
    ...stamps(12),
  },
];

export { HOUR, iso, next, now, pick, SMART };
