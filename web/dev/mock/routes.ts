import type { components } from "../../src/api/schema.gen.ts";
import { audit, bill, billSummaries, overview, testReport } from "./books.ts";
import { budgets, projects } from "./budgets.ts";
import { id, iso, keys, models, now, prices, routes, stamps, tenants, upstreams } from "./data.ts";
import { explanation, health, inFlight, limits } from "./live.ts";
import { requests, series } from "./requests.ts";

type Schemas = components["schemas"];
/** `full`, `empty`, `failing` or `signed-out`, from the cookie `tallygate-mock`. */
type Scenario = string;

interface Answer {
  status: number;
  type: string;
  value: unknown;
}

const session: Schemas["Session"] = {
  id: id("usr"),
  kind: "user",
  name: "dana@example.com",
  role: "owner",
  tenant: null,
  permissions: [
    "overview.read",
    "tenants.read",
    "tenants.write",
    "projects.read",
    "projects.write",
    "budgets.read",
    "budgets.write",
    "api_keys.read",
    "api_keys.write",
    "upstreams.read",
    "upstreams.write",
    "upstreams.test",
    "upstream_secrets.write",
    "models.read",
    "models.write",
    "prices.read",
    "prices.write",
    "requests.read",
    "usage.read",
    "money.read",
    "bills.read",
    "audit.read",
    "routes.read",
    "routes.write",
    "in_flight.read",
    "in_flight.cancel",
    "credentials.reactivate",
  ],
  expires_at: iso(now + 600_000),
};

const ok = (value: unknown, status = 200): Answer => ({ status, type: "application/json", value });

function problem(status: number, code: string, detail: string, errors: unknown[] = []): Answer {
  const value = {
    type: `/docs/problems/${code.replaceAll("_", "-")}`,
    title: code,
    status,
    detail,
    instance: "adm_0199f3a07c12",
    code,
    errors,
  };
  return { status, type: "application/problem+json", value };
}

function page<Item>(items: Item[], url: URL): Answer {
  const limit = Number(url.searchParams.get("limit") ?? 50);
  const from = Number(url.searchParams.get("after") ?? 0);
  const end = from + limit;
  const has_more = end < items.length;
  return ok({
    data: items.slice(from, end),
    has_more,
    next_cursor: has_more ? String(end) : null,
  });
}

function one<Item extends { id: string }>(items: Item[], wanted: string, body?: unknown): Answer {
  const found = items.find((item) => item.id === wanted);
  if (!found) return problem(404, "not_found", "There is no such resource.");
  if (body) Object.assign(found, body);
  return ok(found);
}

function named<Item extends { name: string; status: string }>(items: Item[], url: URL): Item[] {
  const q = url.searchParams.get("q") ?? "";
  const status = url.searchParams.get("status");
  return items.filter((item) => item.name.includes(q) && (!status || item.status === status));
}

function listRequests(url: URL): Schemas["RequestDetail"][] {
  const wanted = (name: string) => url.searchParams.get(name);
  return requests.filter(
    (item) =>
      (!wanted("tenant_id") || item.tenant_id === wanted("tenant_id")) &&
      (!wanted("model") || item.model === wanted("model")) &&
      (!wanted("outcome") || item.outcome === wanted("outcome")) &&
      (!wanted("from") || item.accepted_at >= (wanted("from") ?? "")),
  );
}

function usage(url: URL): Answer {
  const from = Date.parse(url.searchParams.get("from") ?? iso(now - 86_400_000));
  const to = Date.parse(url.searchParams.get("to") ?? iso(now));
  const bucket = url.searchParams.get("bucket") === "day" ? "day" : "hour";
  const by = url.searchParams.get("group_by") ?? "none";
  const groups =
    by === "model"
      ? models
          .slice(0, 3)
          .map(({ name }, index) => ({ group: name, group_name: name, share: 0.55 / (index + 1) }))
      : by === "outcome"
        ? [
            { group: "ok", group_name: "ok", share: 0.97 },
            { group: "rate_limited", group_name: "rate_limited", share: 0.02 },
            { group: "upstream_error", group_name: "upstream_error", share: 0.01 },
          ]
        : [{ group: null, group_name: null, share: 1 }];
  return ok({
    from: iso(from),
    to: iso(to),
    bucket,
    group_by: by,
    data: series(from, to, bucket, groups),
    truncated: false,
  });
}

function createKey(body: Schemas["ApiKeyCreate"]): Answer {
  const made: Schemas["ApiKeyWithSecret"] = {
    id: id("key"),
    tenant_id: body.tenant_id ?? "",
    name: body.name,
    created_by: null,
    prefix: "sk-tg1_Qe81mZpA",
    last4: "7dKx",
    status: "active",
    expires_at: body.expires_at ?? null,
    limits: { requests_per_minute: null, tokens_per_minute: null, concurrency: null },
    allowed_models: body.allowed_models ?? null,
    allowed_endpoints: body.allowed_endpoints ?? null,
    allowed_networks: body.allowed_networks ?? null,
    project: body.project ?? null,
    previous_expires_at: null,
    tags: body.tags ?? [],
    last_used_at: null,
    ...stamps(0),
    secret: "sk-tg1_Qe81mZpAb2cD4eF6gH8iJ0kL2mN4oP6qR8sT0uV2wX4yZ6aB8cD7dKx",
  };
  keys.unshift(made);
  return ok(made, 201);
}

function rotateKey(wanted: string): Answer {
  const rotated = { previous_expires_at: iso(now + 3_600_000), last4: "7dKx" };
  const { status, type, value } = one(keys, wanted, rotated);
  const secret = "sk-tg1_Qe81mZpAb2cD4eF6gH8iJ0kL2mN4oP6qR8sT0uV2wX4yZ6aB8cD7dKx";
  return { status, type, value: { ...(value as object), secret } };
}

function ofTenant<Item extends { tenant_id: string }>(items: Item[], url: URL): Item[] {
  const wanted = url.searchParams.get("tenant_id");
  return items.filter((item) => !wanted || item.tenant_id === wanted);
}

const EMPTY: Record<string, unknown> = { data: [], has_more: false, next_cursor: null };

export function answer(method: string, url: URL, body: unknown, scenario: Scenario): Answer {
  const path = url.pathname.slice("/admin/v1".length);
  const [, first = "", second = "", third = ""] = path.split("/");
  if (first === "setup" && method === "GET") return ok({ needed: false });
  if (first.startsWith("session") || first === "setup") {
    if (method === "GET" && scenario === "signed-out") {
      return problem(401, "unauthenticated", "Sign in first.");
    }
    if (first === "session:refresh" && scenario === "signed-out") {
      return problem(401, "unauthenticated", "Sign in first.");
    }
    return method === "DELETE" ? { status: 204, type: "", value: null } : ok(session);
  }
  if (scenario === "failing" && method === "GET" && first !== "version") {
    return problem(503, "store_unavailable", "The database cannot be reached now; try again.");
  }
  if (first === "version") {
    return ok({
      version: "0.1.0",
      store: "sqlite",
      config_version: 42,
      api_url: "http://127.0.0.1:8080",
      demo: false,
      started_at: iso(now - 86_400_000),
      now: iso(now),
    });
  }
  if (first === "overview") return ok(overview(scenario === "empty"));
  if (scenario === "empty" && method === "GET") {
    return first === "usage" ? ok({ ...EMPTY, bucket: "hour", group_by: "none" }) : ok(EMPTY);
  }
  const write = method === "PATCH" ? body : undefined;
  switch (first) {
    case "usage":
      return usage(url);
    case "tenants":
      if (method === "POST") {
        const { name } = body as Schemas["TenantCreate"];
        if (tenants.some((known) => known.name === name)) {
          return problem(422, "validation_failed", "The name is taken.", [
            { pointer: "/name", rule: "taken", reason: "Another tenant has this name." },
          ]);
        }
        const made = { ...(tenants[0] as Schemas["Tenant"]), ...(body as object), id: id("ten") };
        tenants.push(made);
        return ok(made, 201);
      }
      if (third === "budgets") return page(budgets(second), url);
      return second ? one(tenants, second, write) : page(named(tenants, url), url);
    case "projects":
      if (method === "DELETE") return { status: 204, type: "", value: null };
      if (method === "POST") return ok(projects[0], 201);
      return second ? one(projects, second, write) : page(ofTenant(projects, url), url);
    case "budgets":
      return method === "DELETE" ? { status: 204, type: "", value: null } : ok(body, 201);
    case "api-keys":
      if (second.endsWith(":revoke"))
        return one(keys, second.split(":")[0] ?? "", { status: "revoked" });
      if (second.endsWith(":rotate")) return rotateKey(second.split(":")[0] ?? "");
      if (method === "POST") return createKey(body as Schemas["ApiKeyCreate"]);
      if (third === "limits") return page(limits, url);
      if (second) return one(keys, second, write);
      return page(ofTenant(keys, url), url);
    case "upstreams":
      if (second.endsWith(":test"))
        return ok(testReport(second.startsWith(upstreams[2]?.id ?? "-")));
      if (third === "health") return ok(health(second));
      if (third === "credentials") return ok(upstreams[0]?.credentials[0], 201);
      if (method === "POST") return ok(upstreams[0], 201);
      return second ? one(upstreams, second, write) : page(named(upstreams, url), url);
    case "models":
      if (third === "prices" && method === "GET") return page(prices[second] ?? [], url);
      if (third === "prices") return ok(prices[second]?.[0], 201);
      if (method === "POST") return ok(models[0], 201);
      return second ? one(models, second, write) : page(named(models, url), url);
    case "routes":
      if (second === "explain") return ok(explanation((body as { model: string }).model));
      if (method === "POST") return ok(routes[0], 201);
      return second ? one(routes, second, write) : page(routes, url);
    case "in-flight":
      return method === "DELETE" ? { status: 204, type: "", value: null } : page(inFlight, url);
    case "credentials":
      return third === "rotate"
        ? ok(upstreams[0]?.credentials[0], 201)
        : { status: 204, type: "", value: null };
    case "catalogue":
      return page(
        [
          {
            provider: "anthropic",
            model: "claude-sonnet-5-5",
            currency: "USD",
            prices: models[0]?.price?.prices,
          },
        ],
        url,
      );
    case "requests":
      return second ? one(requests, second) : page(listRequests(url), url);
    case "bills":
      if (third.endsWith(".csv")) return { status: 200, type: "text/csv", value: "model,tokens\n" };
      return second ? ok(bill(second, third)) : page(billSummaries(url), url);
    case "audit-events":
      return page(audit, url);
    default:
      return problem(404, "not_found", "There is no such route.");
  }
}
