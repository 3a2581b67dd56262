import type { UseFormInput } from "@mantine/form";
import type { TFunction } from "i18next";
import type { Tenant } from "@/api/types";
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
  budget: { amount: string; currency: string };
  /** Empty means every model. */
  allowed_models: string[];
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export const NEW_TENANT: TenantValues = {
  name: "",
  time_zone: "UTC",
  limits: NO_LIMITS,
  budget: { amount: "", currency: "USD" },
  allowed_models: [],
};

export function tenantValues(tenant: Tenant): TenantValues {
  return {
    name: tenant.name,
    time_zone: tenant.time_zone,
    limits: limitsInput(tenant.limits),
    budget: {
      amount: tenant.budget?.amount ?? "",
      currency: tenant.budget?.currency ?? "USD",
    },
    allowed_models: tenant.allowed_models ?? [],
  };
}

export function tenantBody(values: TenantValues) {
  const amount = values.budget.amount.trim();
  return {
    name: values.name.trim(),
    time_zone: values.time_zone,
    limits: limitsBody(values.limits),
    budget: amount ? { amount, currency: values.budget.currency, period: "month" as const } : null,
    allowed_models: values.allowed_models.length > 0 ? values.allowed_models : null,
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
  };
}
