import type { UseFormInput } from "@mantine/form";
import type { TFunction } from "i18next";
import type { BillingMode, BudgetPeriod, Tenant } from "@/api/types";
import {
  type LimitsInput,
  limitsBody,
  limitsInput,
  NO_LIMITS,
} from "@/components/form/LimitsFields";
import { isDecimal, isZero } from "@/lib/money";

/** Keyed as the API keys its fields, so that the server's words find their place. */
export interface TenantValues {
  name: string;
  time_zone: string;
  limits: LimitsInput;
  model_limits: { model: string; limits: LimitsInput }[];
  end_user_limits: LimitsInput;
  budget: { amount: string; currency: string; period: BudgetPeriod };
  billing: { mode: BillingMode; currency: string; balance_alert: string; alert_emails: string[] };
  /** Empty means every model. */
  allowed_models: string[];
  responses: ResponsesInput;
}

/** The bounds are emptied while someone types; an empty one is the default. */
export interface ResponsesInput {
  mode: "stateless" | "stored";
  lifetime_hours: number | "";
  max_bytes: number | "";
  max_count: number | "";
}

/** What the server takes where nothing is said. */
export const RESPONSES = {
  mode: "stateless" as const,
  lifetime_hours: 720,
  max_bytes: 268_435_456,
  max_count: 10_000,
};

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export const NEW_TENANT: TenantValues = {
  name: "",
  time_zone: "UTC",
  limits: NO_LIMITS,
  model_limits: [],
  end_user_limits: NO_LIMITS,
  budget: { amount: "", currency: "USD", period: "month" },
  billing: { mode: "postpaid", currency: "USD", balance_alert: "", alert_emails: [] },
  allowed_models: [],
  responses: RESPONSES,
};

export function tenantValues(tenant: Tenant): TenantValues {
  return {
    name: tenant.name,
    time_zone: tenant.time_zone,
    limits: limitsInput(tenant.limits),
    model_limits: Object.entries(tenant.model_limits).map(([model, limits]) => ({
      model,
      limits: limitsInput(limits),
    })),
    end_user_limits: limitsInput(tenant.end_user_limits),
    budget: {
      amount: tenant.budget?.amount ?? "",
      currency: tenant.budget?.currency ?? "USD",
      period: tenant.budget?.period ?? "month",
    },
    billing: { ...tenant.billing, balance_alert: tenant.billing.balance_alert ?? "" },
    allowed_models: tenant.allowed_models ?? [],
    responses: tenant.responses,
  };
}

export function tenantBody(values: TenantValues) {
  const amount = values.budget.amount.trim();
  return {
    name: values.name.trim(),
    time_zone: values.time_zone,
    limits: limitsBody(values.limits),
    // All of them are replaced, so one that was emptied is left out.
    model_limits: Object.fromEntries(
      values.model_limits
        .map(({ model, limits }) => [model, limitsBody(limits)] as const)
        .filter(([, limits]) => Object.values(limits).some((limit) => limit !== null)),
    ),
    end_user_limits: limitsBody(values.end_user_limits),
    budget: amount ? { ...values.budget, amount } : null,
    billing: {
      ...values.billing,
      balance_alert: values.billing.balance_alert.trim() || null,
    },
    allowed_models: values.allowed_models.length > 0 ? values.allowed_models : null,
    responses: {
      mode: values.responses.mode,
      lifetime_hours: values.responses.lifetime_hours || RESPONSES.lifetime_hours,
      max_bytes: values.responses.max_bytes || RESPONSES.max_bytes,
      max_count: values.responses.max_count || RESPONSES.max_count,
    },
  };
}

export function tenantRules(t: TFunction<"tenants">): UseFormInput<TenantValues>["validate"] {
  return {
    name: (name) => (NAME.test(name.trim()) ? null : t("nameRule")),
    budget: {
      amount: (amount) =>
        amount.trim() === "" || (isDecimal(amount) && !isZero(amount.trim()))
          ? null
          : t("budgetRule"),
    },
    billing: {
      balance_alert: (amount) =>
        amount.trim() === "" || isDecimal(amount) ? null : t("billing.alertRule"),
    },
  };
}
