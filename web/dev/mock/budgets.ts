import type { components } from "../../src/api/schema.gen.ts";
import { HOUR, id, iso, keys, now, stamps, tenants } from "./data.ts";

type Schemas = components["schemas"];

const project = (
  owner: number,
  name: string,
  more: Partial<Schemas["Project"]> = {},
): Schemas["Project"] => ({
  id: id("prj"),
  tenant_id: tenants[owner]?.id ?? "",
  name,
  status: "active",
  limits: { requests_per_minute: 120, tokens_per_minute: null, concurrency: 10 },
  allowed_models: null,
  ...stamps(200),
  ...more,
});

export const projects = [
  project(4, "support-desk"),
  project(4, "nightly", { allowed_models: ["fast"], managed_by: "file" }),
  project(4, "prototype", { status: "archived" }),
  project(1, "web"),
];

type Budget = Schemas["TenantBudget"];

function budget(scope: Budget["scope"], spent: number, more: Partial<Budget> = {}): Budget {
  const amount = Number(more.amount ?? "100");
  return {
    id: id("bud"),
    scope,
    project_id: null,
    key_id: null,
    model: null,
    end_user: null,
    subject_name: null,
    is_of_each: false,
    period: "month",
    amount: amount.toFixed(2),
    currency: "USD",
    mode: "hard",
    alerts: [80, 100],
    spent: spent.toFixed(2),
    remaining: Math.max(0, amount - spent).toFixed(2),
    overspent: Math.max(0, spent - amount).toFixed(2),
    percent: Math.floor((spent * 100) / amount),
    is_used_up: spent >= amount,
    starts_at: iso(now - 400 * HOUR),
    resets_at: iso(now + 190 * HOUR),
    managed_by: "api",
    version: 1,
    ...more,
  };
}

const some = [
  budget("project", 61.2, { subject_name: "support-desk", project_id: projects[0]?.id ?? null }),
  budget("key", 5.02, {
    subject_name: "ci",
    key_id: keys[0]?.id ?? null,
    period: "day",
    amount: "5.00",
    mode: "soft",
    resets_at: iso(now + 7 * HOUR),
  }),
  budget("model", 1700, {
    subject_name: "smart",
    model: "smart",
    period: "total",
    amount: "2000.00",
    starts_at: null,
    resets_at: null,
    managed_by: "file",
  }),
  ...["maria@example.com", "user-77310"].map((end_user, index) =>
    budget("end_user", 1.8 - index, {
      subject_name: end_user,
      end_user,
      is_of_each: true,
      amount: "2.00",
    }),
  ),
];

/** The budgets of a tenant: its own, and some. */
export function budgets(tenantId: string): Budget[] {
  const tenant = tenants.find((known) => known.id === tenantId);
  const own = tenant?.budget;
  return [
    ...(own
      ? [budget("tenant", 118.4, { id: null, version: null, amount: own.amount, alerts: [] })]
      : []),
    ...(tenant ? some : []),
  ];
}
