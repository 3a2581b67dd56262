import type { components } from "../../src/api/schema.gen.ts";
import { HOUR, id, iso, models, now, tenants, upstreams } from "./data.ts";
import { NO_USAGE, requests, sum } from "./requests.ts";

type Schemas = components["schemas"];

const usd = (amount: string) => ({ amount, currency: "USD" });
const SPENT = ["182.4031", "94.22", "31.908112", "26.10", "0"];

const NOTHING: Schemas["WindowTotals"] = {
  requests: 0,
  errors: 0,
  input_tokens: 0,
  output_tokens: 0,
  charges: [],
};

const totals = (share: number): Schemas["WindowTotals"] => ({
  requests: Math.round(18_422 * share),
  errors: Math.round(241 * share),
  input_tokens: Math.round(42_551_220 * share),
  output_tokens: Math.round(7_590_400 * share),
  charges: [usd((131.8042 * share).toFixed(6))],
});

export function overview(empty: boolean): Schemas["Overview"] {
  return {
    from: iso(now - 24 * HOUR),
    to: iso(now),
    totals: empty ? NOTHING : totals(1),
    previous: empty ? NOTHING : totals(0.87),
    latency: empty
      ? null
      : {
          sample: 1000,
          first_byte_ms_p50: 412,
          first_byte_ms_p95: 1_840,
          duration_ms_p50: 2_910,
          duration_ms_p95: 14_200,
          overhead_us_p99: 640,
        },
    counts: empty
      ? { tenants: 0, api_keys: 0, upstreams: 0, models: 0 }
      : { tenants: 5, api_keys: 9, upstreams: 4, models: 4 },
    top_models: empty
      ? []
      : models
          .slice(0, 3)
          .map(({ name }, at) => ({ group: name, name, ...totals(0.5 / (at + 1)) })),
    top_tenants: empty
      ? []
      : tenants
          .slice(0, 4)
          .map(({ id: group, name }, at) => ({ group, name, ...totals(0.45 / (at + 1)) })),
    attention: empty
      ? []
      : [
          {
            severity: "critical",
            code: "tenant_over_budget",
            target_kind: "tenant",
            target_id: tenants[3]?.id ?? null,
            target_name: tenants[3]?.name ?? null,
            detail: "The tenant has used up its budget; its requests are refused.",
          },
          {
            severity: "warning",
            code: "upstream_without_credential",
            target_kind: "upstream",
            target_id: upstreams[2]?.id ?? null,
            target_name: upstreams[2]?.name ?? null,
            detail: "The upstream has no active credential.",
          },
          {
            severity: "warning",
            code: "model_unpriced",
            target_kind: "model",
            target_id: models[3]?.id ?? null,
            target_name: models[3]?.name ?? null,
            detail: "The model has no price and cannot be sold.",
          },
        ],
    getting_started: {
      has_upstream: !empty,
      has_model: !empty,
      has_price: !empty,
      has_tenant: !empty,
      has_api_key: !empty,
      latest_request_id: empty ? null : (requests[0]?.id ?? null),
    },
  };
}

export function testReport(fails: boolean): Schemas["TestReport"] {
  const step = (
    name: Schemas["TestStepName"],
    ms: number,
    detail: string,
  ): Schemas["TestStep"] => ({
    step: name,
    ok: true,
    duration_ms: ms,
    detail,
    fix: null,
  });
  const way = [
    step("dns", 12, "api.example.com is 203.0.113.7"),
    step("tcp", 31, "Connected to 203.0.113.7:443"),
    step("tls", 48, "TLS 1.3, certificate valid until 2027-03-01"),
  ];
  if (fails) {
    return {
      ok: false,
      duration_ms: 214,
      model: null,
      steps: [
        ...way,
        {
          step: "auth",
          ok: false,
          duration_ms: 123,
          detail: "The upstream answered 401: API key not valid.",
          fix: "Replace the credential's secret with a key that is valid for this provider.",
        },
      ],
    };
  }
  return {
    ok: true,
    duration_ms: 904,
    model: "claude-sonnet-5-5",
    steps: [
      ...way,
      step("auth", 122, "The credential was accepted"),
      step("model", 640, "claude-sonnet-5-5 answered with 9 tokens"),
      step("stream", 51, "First event after 51 ms"),
    ],
  };
}

export function billSummaries(url: URL): Schemas["BillSummary"][] {
  const period = url.searchParams.get("period") ?? new Date(now).toISOString().slice(0, 7);
  const wanted = url.searchParams.get("tenant_id");
  return tenants
    .filter((owner) => !wanted || owner.id === wanted)
    .map((owner, index) => ({
      tenant_id: owner.id,
      tenant: owner.name,
      period,
      status: "draft",
      time_zone: owner.time_zone,
      from: `${period}-01T00:00:00Z`,
      to: `${period}-28T00:00:00Z`,
      requests: 4_210 * (5 - index),
      is_complete: false,
      totals:
        SPENT[tenants.indexOf(owner)] === "0" ? [] : [usd(SPENT[tenants.indexOf(owner)] ?? "0")],
    }));
}

export function bill(tenantId: string, period: string): Schemas["Bill"] {
  const url = new URL(`http://mock/?period=${period}&tenant_id=${tenantId}`);
  const summary = billSummaries(url)[0] as Schemas["BillSummary"];
  const lines = models.slice(0, 3).flatMap((model) =>
    Object.entries(model.price?.prices ?? {}).map(([name, per], index): Schemas["BillLine"] => ({
      model_id: model.id,
      model: model.name,
      class: name,
      tokens: 1_204_331 * (index + 1),
      price_per_million: per ?? "0",
      priced_as: name,
      price_version_id: model.price?.id ?? "",
      price_valid_from: model.price?.valid_from ?? "",
      amount: usd((Number(per) * 1.204331 * (index + 1)).toFixed(6)),
    })),
  );
  const exact = sum(lines.map(({ amount }) => amount.amount));
  const total = Number(exact).toFixed(2);
  return {
    ...summary,
    generated_at: iso(now),
    sections: [
      {
        currency: "USD",
        requests: summary.requests - 241,
        lines,
        unexplained: usd("0"),
        exact: usd(exact),
        rounding: usd((Number(total) - Number(exact)).toFixed(6)),
        total: usd(total),
      },
    ],
    not_charged: { requests: 241, usage: NO_USAGE },
  };
}

const change = (
  hours: number,
  action: string,
  target_kind: string,
  target_id: string | null,
  before: object | null,
  after: object | null,
): Schemas["AuditEvent"] => ({
  id: id("aud"),
  at: iso(now - hours * HOUR),
  actor: { kind: "user", id: "usr_1", name: "dana@example.com", role: "owner" },
  action,
  target_kind,
  target_id,
  target_name: target_kind === "session" ? null : "acme",
  user_agent: "Mozilla/5.0",
  tenant_id: target_kind === "tenant" ? target_id : null,
  // The document says "an object" and no more.
  before: before as Record<string, never> | null,
  after: after as Record<string, never> | null,
  request_id: "adm_0199f3a07c12",
  ip: "10.0.0.14",
  reason: hours > 5 ? "Agreed with finance on Monday" : null,
});

export const audit: Schemas["AuditEvent"][] = [
  change(
    0.3,
    "tenant.updated",
    "tenant",
    tenants[0]?.id ?? null,
    { name: "acme", budget: { amount: "300.00", currency: "USD" }, limits: { concurrency: 20 } },
    { name: "acme", budget: { amount: "400.00", currency: "USD" }, limits: { concurrency: 50 } },
  ),
  change(2, "api_key.created", "api_key", "key_0199f3a07c12", null, {
    name: "ci",
    tenant_id: tenants[0]?.id,
    allowed_models: null,
  }),
  change(
    6,
    "upstream.updated",
    "upstream",
    upstreams[3]?.id ?? null,
    { status: "active", proxy: null },
    { status: "disabled", proxy: null },
  ),
  change(9, "price.created", "price", "prc_0199f3a07c12", null, {
    currency: "USD",
    prices: { input_uncached: "3.00", output_text: "15.00" },
  }),
  change(30, "session.created", "session", null, null, null),
];
