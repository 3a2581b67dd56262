import type { components } from "../../src/api/schema.gen.ts";
import { HOUR, id, iso, keys, models, next, now, pick, SMART, tenants, upstreams } from "./data.ts";

type Schemas = components["schemas"];

const OUTCOMES: readonly [Schemas["Outcome"], number, string | null][] = [
  ["ok", 200, null],
  ["ok", 200, null],
  ["ok", 200, null],
  ["ok", 200, null],
  ["ok", 200, null],
  ["ok", 200, null],
  ["ok", 200, null],
  ["rate_limited", 429, "rate_limit_exceeded"],
  ["upstream_error", 502, "upstream_unavailable"],
  ["client_gone", 499, null],
  ["quota_exceeded", 429, "budget_exceeded"],
  ["timeout", 504, "upstream_timeout"],
  ["client_error", 400, "invalid_request"],
];

const NO_USAGE: Schemas["Usage"] = {
  input_uncached: 0,
  input_cache_read: 0,
  input_cache_write_5m: 0,
  input_cache_write_1h: 0,
  input_audio: 0,
  input_audio_cached: 0,
  input_image: 0,
  input_video: 0,
  output_text: 0,
  output_reasoning: 0,
  output_audio: 0,
  output_image: 0,
};

/** Exact: pico-units are tokens times micro-prices, so integers all the way. */
function product(tokens: number, perMillion: string): string {
  const [whole = "0", fraction = ""] = perMillion.split(".");
  const pico = BigInt(tokens) * BigInt(whole + fraction.padEnd(6, "0"));
  const digits = pico.toString().padStart(13, "0");
  return `${digits.slice(0, -12)}.${digits.slice(-12)}`.replace(/0+$/, "").replace(/\.$/, "");
}

function sum(amounts: string[]): string {
  const pico = amounts.reduce((total, amount) => {
    const [whole = "0", fraction = ""] = amount.split(".");
    return total + BigInt(whole + fraction.padEnd(12, "0"));
  }, 0n);
  const digits = pico.toString().padStart(13, "0");
  return `${digits.slice(0, -12)}.${digits.slice(-12)}`.replace(/0+$/, "").replace(/\.$/, ".00");
}

const PRICED_AS: Record<string, string> = { output_reasoning: "output_text" };

function refusedBy(key: string, accepted: number): Schemas["RefusedBy"] {
  const resets_at = iso(accepted + 52_000);
  return {
    code: "rate_limit_exceeded",
    message: "Rate limit of this API key reached: 60 requests per minute, 60 in the last minute.",
    explanation: `API key \`${key}\` reached its 60 requests a minute at ${iso(accepted)}; there is room again at ${resets_at}.`,
    scope: "key",
    subject: key,
    dimension: "requests",
    limit: "60",
    used: "60",
    currency: null,
    period: null,
    resets_at,
    more: 14,
  };
}

function request(minutesAgo: number): Schemas["RequestDetail"] {
  const owner = pick(tenants);
  const key = keys.find(({ tenant_id }) => tenant_id === owner.id);
  const model = pick(models.slice(0, 3));
  const to = model.targets[0];
  const [outcome, status, error_code] = pick(OUTCOMES);
  const used = outcome === "ok" || outcome === "client_gone";
  const usage = used
    ? {
        ...NO_USAGE,
        input_uncached: 200 + Math.floor(next() * 4_000),
        input_cache_read: Math.floor(next() * 20_000),
        output_text: 20 + Math.floor(next() * 1_200),
        output_reasoning: Math.floor(next() * 600),
      }
    : NO_USAGE;
  const charge_lines = Object.entries(usage)
    .filter(([, tokens]) => tokens > 0)
    .map(([name, tokens]): Schemas["ChargeLine"] => {
      const priced_as = PRICED_AS[name] ?? name;
      const per = (SMART as Record<string, string>)[priced_as] ?? "1.00";
      const amount = { amount: product(tokens, per), currency: "USD" };
      return { class: name, priced_as, tokens, price_per_million: per, amount };
    });
  const accepted = now - minutesAgo * 60_000;
  const duration = 400 + Math.floor(next() * 9_000);
  const first = used ? 180 + Math.floor(next() * 900) : null;
  const retried = next() > 0.8;
  const upstream = to?.upstream ?? "";
  const attempt = (ok: boolean, at: number): Schemas["Attempt"] => ({
    upstream: ok ? upstream : "openai-eu",
    credential_id: id("crd"),
    status: ok ? status : 529,
    outcome: ok ? outcome : "overloaded",
    reason: ok ? error_code : "The provider is overloaded.",
    started_at: iso(at),
    duration_us: ok ? duration * 900 : 210_400,
  });
  return {
    id: id("req"),
    accepted_at: iso(accepted),
    tenant_id: owner.id,
    tenant: owner.name,
    key_id: key?.id ?? "",
    key: key?.name ?? null,
    end_user: next() > 0.6 ? "user-81723" : null,
    endpoint: pick(["chat_completions", "messages", "responses"]),
    client_dialect: pick(["openai-chat", "anthropic", "openai-responses"]),
    upstream_dialect: upstreams.find(({ name }) => name === upstream)?.dialect ?? null,
    model: model.name,
    model_id: model.id,
    upstream_model: to?.upstream_model ?? null,
    returned_model: used ? `${to?.upstream_model}-20260901` : null,
    upstream_id: to?.upstream_id ?? null,
    upstream,
    attempts: retried ? 2 : 1,
    stream: next() > 0.3,
    outcome,
    status,
    error_code,
    finish_reason: outcome === "ok" ? "stop" : null,
    first_byte_ms: first,
    duration_ms: duration,
    overhead_us: 180 + Math.floor(next() * 400),
    input_tokens: usage.input_uncached + usage.input_cache_read,
    output_tokens: usage.output_text + usage.output_reasoning,
    usage_source: outcome === "client_gone" ? "estimated" : used ? "provider" : "none",
    estimator: outcome === "client_gone" ? "bytes" : null,
    charge: used
      ? { amount: sum(charge_lines.map(({ amount }) => amount.amount)), currency: "USD" }
      : null,
    first_byte_at: first === null ? null : iso(accepted + first),
    finished_at: iso(accepted + duration),
    usage,
    raw_usage: used
      ? `{"input_tokens":${usage.input_uncached},"cache_read_input_tokens":${usage.input_cache_read},"output_tokens":${usage.output_text + usage.output_reasoning}}`
      : null,
    attempts_detail: retried
      ? [attempt(false, accepted), attempt(true, accepted + 220)]
      : [attempt(true, accepted)],
    charge_lines,
    price_version_id: model.price?.id ?? null,
    reserved: { amount: "0.0921", currency: "USD" },
    credential_id: id("crd"),
    upstream_request_id: used ? "msg_01XkT8bq2mZ" : null,
    loss: next() > 0.5 ? "dropped=logit_bias,seed; approximated=top_k" : null,
    bytes_in: 8_214,
    bytes_out: 3_912,
    trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
    route: null,
    arm: null,
    affinity: "prompt_cache_key",
    cache_saved: { amount: "0.0041", currency: "USD" },
    refused_by: outcome === "rate_limited" ? refusedBy(key?.name ?? "ci", accepted) : null,
  };
}

export const requests: Schemas["RequestDetail"][] = Array.from({ length: 160 }, (_, index) =>
  request(index * 7 + next() * 5),
);

/** Sums of made-up traffic with the rhythm of a working day. */
export function series(
  from: number,
  to: number,
  bucket: "hour" | "day",
  groups: { group: string | null; group_name: string | null; share: number }[],
): Schemas["UsagePoint"][] {
  const step = bucket === "hour" ? HOUR : 24 * HOUR;
  const points: Schemas["UsagePoint"][] = [];
  for (let at = Math.floor(from / step) * step; at < to; at += step) {
    const hour = new Date(at).getUTCHours();
    const rhythm =
      bucket === "day" ? 18 : 0.25 + Math.max(0, Math.sin(((hour - 5) / 24) * 2 * Math.PI));
    for (const { group, group_name, share } of groups) {
      const wobble = 0.8 + 0.4 * Math.abs(Math.sin(at / HOUR + share * 50));
      const requests = Math.round(900 * rhythm * share * wobble);
      points.push({
        start: iso(at),
        group,
        group_name,
        requests,
        errors: Math.round(requests * 0.013 * wobble),
        usage: NO_USAGE,
        input_tokens: requests * 2_310,
        output_tokens: requests * 412,
        mean_duration_ms: 2_900,
        mean_first_byte_ms: 410,
        mean_overhead_us: 300,
        charges: [{ amount: (requests * 0.0071).toFixed(4), currency: "USD" }],
        cache_saved: [{ amount: (requests * 0.0012).toFixed(4), currency: "USD" }],
      });
    }
  }
  return points;
}

export { NO_USAGE, sum };
