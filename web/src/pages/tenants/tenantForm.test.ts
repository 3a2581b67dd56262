import { expect, it } from "vitest";
import type { Tenant } from "@/api/types";
import { NO_LIMITS } from "@/components/form/LimitsFields";
import { NEW_TENANT, tenantBody, tenantValues } from "./tenantForm";

const none = { requests_per_minute: null, tokens_per_minute: null, concurrency: null };

it("a tenant comes out of its form as it went in", () => {
  const stored = {
    name: "acme",
    time_zone: "UTC",
    limits: { ...none, concurrency: 5 },
    model_limits: { "acme/smart": { ...none, requests_per_minute: 10 } },
    end_user_limits: { ...none, tokens_per_minute: 900 },
    budget: { amount: "5", currency: "EUR", period: "day" as const },
    billing: {
      mode: "prepaid" as const,
      currency: "EUR",
      balance_alert: "2.5",
      alert_emails: ["ann@acme.example"],
    },
    allowed_models: ["acme/smart"],
    responses: {
      mode: "stored" as const,
      lifetime_hours: 1,
      max_bytes: 2_000_000,
      max_count: 3,
    },
  };
  expect(tenantBody(tenantValues(stored as unknown as Tenant))).toEqual(stored);
});

it("what was emptied is no limit and no budget", () => {
  const model_limits = [{ model: "smart", limits: NO_LIMITS }];
  const body = tenantBody({ ...NEW_TENANT, name: " acme ", model_limits });
  expect(body).toMatchObject({
    name: "acme",
    model_limits: {},
    end_user_limits: none,
    budget: null,
    billing: { mode: "postpaid", balance_alert: null },
  });
});
