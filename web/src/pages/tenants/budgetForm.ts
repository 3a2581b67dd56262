import type { UseFormInput } from "@mantine/form";
import type { TFunction } from "i18next";
import type { BudgetMode, BudgetPeriod, BudgetScope, TenantBudget } from "@/api/types";
import { isDecimal, isZero } from "@/lib/money";

export const SCOPES = ["tenant", "project", "key", "model", "end_user"] as const;
export const PERIODS = ["day", "month", "total"] as const;
export const MODES = ["hard", "soft"] as const;
/** The server takes no more than this. */
const MAX_ALERT_PERCENT = 1_000;

/** Keyed as the API keys its fields, so that the server's words find their place. */
export interface BudgetValues {
  scope: BudgetScope;
  project_id: string;
  key_id: string;
  model: string;
  /** Empty means each end user has as much. */
  end_user: string;
  period: BudgetPeriod;
  amount: string;
  currency: string;
  mode: BudgetMode;
  /** As they are typed: `80` or `80%`. */
  alerts: string[];
}

const NEW_BUDGET: BudgetValues = {
  scope: "project",
  project_id: "",
  key_id: "",
  model: "",
  end_user: "",
  period: "month",
  amount: "",
  currency: "USD",
  mode: "hard",
  alerts: ["80", "100"],
};

export function budgetValues(budget: TenantBudget | undefined): BudgetValues {
  if (!budget) return NEW_BUDGET;
  return {
    scope: budget.scope,
    project_id: budget.project_id ?? "",
    key_id: budget.key_id ?? "",
    model: budget.model ?? "",
    end_user: budget.is_of_each ? "" : (budget.end_user ?? ""),
    period: budget.period,
    amount: budget.amount ?? "",
    currency: budget.currency,
    mode: budget.mode,
    alerts: budget.alerts.map(String),
  };
}

/** A percentage as it is typed, if it is one that can be told at. */
function percent(text: string): number | undefined {
  const match = /^(\d{1,4})\s*%?$/.exec(text.trim());
  const value = match ? Number(match[1]) : 0;
  return value >= 1 && value <= MAX_ALERT_PERCENT ? value : undefined;
}

function percents(texts: string[]): number[] {
  const known = texts.map(percent).filter((value) => value !== undefined);
  return [...new Set(known)].sort((a, b) => a - b);
}

/** What can be changed later; the rest says what was counted. */
export function budgetChange(values: BudgetValues) {
  return { amount: values.amount.trim(), mode: values.mode, alerts: percents(values.alerts) };
}

/** Only what its scope is of is sent. */
export function budgetBody(tenantId: string, values: BudgetValues) {
  const { scope, period, currency } = values;
  return {
    tenant_id: tenantId,
    scope,
    period,
    currency,
    project_id: scope === "project" ? values.project_id : null,
    key_id: scope === "key" ? values.key_id : null,
    model: scope === "model" ? values.model : null,
    end_user: scope === "end_user" ? values.end_user.trim() || null : null,
    ...budgetChange(values),
  };
}

export function budgetRules(t: TFunction<"tenants">): UseFormInput<BudgetValues>["validate"] {
  const chosen = (scope: BudgetScope) => (value: string, values: BudgetValues) =>
    values.scope === scope && !value ? t("budgets.subjectNeeded") : null;
  return {
    project_id: chosen("project"),
    key_id: chosen("key"),
    model: chosen("model"),
    amount: (amount) => (isDecimal(amount) && !isZero(amount.trim()) ? null : t("budgetRule")),
    alerts: (alerts) =>
      alerts.every((text) => percent(text) !== undefined) ? null : t("budgets.alertsRule"),
  };
}
