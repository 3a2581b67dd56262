import type { components } from "../../src/api/schema.gen.ts";
import { id, iso, keys, now, routes, tenants, upstreams } from "./data.ts";

type Schemas = components["schemas"];

const tenant = (index: number) => tenants[index] as Schemas["Tenant"];
const upstream = (index: number) => upstreams[index] as Schemas["Upstream"];

const live = (
  index: number,
  phase: Schemas["Phase"],
  age_ms: number,
  more: Partial<Schemas["LiveRequest"]> = {},
): Schemas["LiveRequest"] => ({
  request_id: id("req"),
  tenant: tenant(index).id,
  tenant_name: tenant(index).name,
  key: keys[0]?.id ?? "",
  key_name: "production",
  model: "smart",
  upstream: upstream(0).id,
  upstream_name: upstream(0).name,
  upstream_model: "claude-sonnet-5-5",
  credential: upstream(0).credentials[0]?.id ?? null,
  credential_name: upstream(0).credentials[0]?.name ?? null,
  attempt: 1,
  phase,
  streamed: true,
  accepted_at: iso(now - age_ms),
  bytes_out: 18_230,
  output_tokens: 4_210,
  client_dialect: "anthropic",
  ...more,
});

export const inFlight: Schemas["LiveRequest"][] = [
  live(0, "streaming", 74_200),
  live(1, "streaming", 12_900, { output_tokens: 612, attempt: 2 }),
  live(2, "first_token", 3_400, { output_tokens: 0 }),
  live(0, "waiting", 220, {
    output_tokens: 0,
    attempt: 0,
    upstream: null,
    upstream_name: null,
    credential: null,
    credential_name: null,
  }),
];

const STATES = ["active", "cooling", "exhausted", "auth_failed"] as const;

export function health(wanted: string): Schemas["UpstreamHealth"] {
  const known = upstreams.find((candidate) => candidate.id === wanted);
  if (!known || known.status === "disabled") return { upstream: null, credentials: [] };
  return {
    upstream: {
      upstream: known.id,
      name: known.name,
      circuit: "closed",
      until: null,
      in_flight: 14,
      latency_ms: 812,
      retry_budget_left: 37,
      last_error: null,
    },
    credentials: known.credentials
      .filter(({ status }) => status === "active")
      .map(({ id: credential, name }, index) => {
        const state = STATES[index % STATES.length] ?? "active";
        return {
          credential,
          upstream: known.id,
          name,
          state,
          until: state === "active" || state === "auth_failed" ? null : iso(now + 95_000),
          reason: state === "active" ? null : "rate_limit_error",
          in_flight: 7 - index,
          latency_ms: 640 + index * 200,
          requests_left: 3_812,
          tokens_left: 1_250_000,
          spent_today: "18.42",
          failures: index,
          last_error: state === "active" ? null : "429 This request would exceed your rate limit.",
        };
      }),
  };
}

export function explanation(model: string): Schemas["Explanation"] {
  const [first, second] = routes as [Schemas["Route"], Schemas["Route"]];
  const step = (index: number, reason: string): Schemas["ExplainedStep"] => ({
    target: second.targets[index]?.id ?? "",
    upstream: second.targets[index]?.upstream_id ?? "",
    upstream_name: second.targets[index]?.upstream ?? "",
    upstream_model: second.targets[index]?.upstream_model ?? "",
    local: index === 2,
    credential: id("crd"),
    credential_name: index === 2 ? null : "team-a",
    weight: 1,
    priority: index === 2 ? 2 : 1,
    arm: second.targets[index]?.arm ?? null,
    readiness: "ready",
    in_flight: 3,
    latency_ms: 812,
    spent_today: "18.42",
    reason,
  });
  return {
    requested: model,
    model,
    rules: [
      {
        route: { id: first.id, name: first.name },
        position: first.position,
        matched: false,
        reason: "none of the tags batch, nightly",
      },
      {
        route: { id: second.id, name: second.name },
        position: second.position,
        matched: true,
        reason: "every condition holds",
      },
    ],
    route: { id: second.id, name: second.name },
    arm: { name: "current", by: "user", reason: "the end user of the body" },
    affinity: {
      kind: "prompt_cache_key",
      held: true,
      reason: "belongs to anthropic-main / team-a",
    },
    strategy: "latency",
    steps: [step(0, "the session belongs here"), step(2, "the last resort, of priority 2")],
    passed_over: [
      {
        target: second.targets[1]?.id ?? "",
        upstream: second.targets[1]?.upstream_id ?? "",
        upstream_name: second.targets[1]?.upstream ?? "",
        upstream_model: "gpt-5.2",
        credential: null,
        credential_name: null,
        why: "other_arm",
        reason: "serves the arm candidate",
        until: null,
      },
      {
        target: second.targets[0]?.id ?? "",
        upstream: second.targets[0]?.upstream_id ?? "",
        upstream_name: second.targets[0]?.upstream ?? "",
        upstream_model: "claude-sonnet-5-5",
        credential: id("crd"),
        credential_name: "team-b",
        why: "cooling",
        reason: "was refused for its rate",
        until: iso(now + 42_000),
      },
    ],
    refusal: null,
  };
}

export const limits: Schemas["EffectiveLimit"][] = [
  {
    scope: "tenant",
    subject: tenant(0).name,
    dimension: "requests",
    limit: 600,
    used: 214,
    remaining: 386,
    resets_at: iso(now + 58_000),
    source: "tenant",
  },
  {
    scope: "tenant",
    subject: tenant(0).name,
    dimension: "concurrency",
    limit: 50,
    used: 7,
    remaining: 43,
    resets_at: null,
    source: "tenant",
  },
  {
    scope: "model",
    subject: "smart",
    dimension: "tokens",
    limit: 200_000,
    used: 203_114,
    remaining: 0,
    resets_at: iso(now + 31_000),
    source: "model_rule",
  },
  {
    scope: "end_user",
    subject: null,
    dimension: "requests",
    limit: 30,
    used: 0,
    remaining: 30,
    resets_at: null,
    source: "end_user_rule",
  },
];
