import type { TFunction } from "i18next";
import { describe, expect, it } from "vitest";
import { budgetBody, budgetChange, budgetRules, budgetValues } from "./budgetForm";

const t = ((key: string) => key) as unknown as TFunction<"tenants">;

describe("a budget's form", () => {
  it("sends only what its scope is of", () => {
    const typed = { ...budgetValues(undefined), model: "smart", key_id: "key_1", amount: " 5.50 " };
    expect(budgetBody("ten_1", { ...typed, scope: "model" })).toEqual({
      tenant_id: "ten_1",
      scope: "model",
      project_id: null,
      key_id: null,
      model: "smart",
      end_user: null,
      period: "month",
      amount: "5.50",
      currency: "USD",
      mode: "hard",
      alerts: [80, 100],
    });
    const each = budgetBody("ten_1", { ...typed, scope: "end_user", end_user: "  " });
    expect([each.model, each.end_user]).toEqual([null, null]);
  });

  it("puts percents in order, once each", () => {
    const values = {
      ...budgetValues(undefined),
      amount: "1",
      alerts: ["100", " 50%", "100 %", "9"],
    };
    expect(budgetChange(values).alerts).toEqual([9, 50, 100]);
  });

  it("asks for what the scope needs, an amount, and percents", () => {
    const rules = budgetRules(t) as Record<string, (value: unknown, values: unknown) => unknown>;
    const values = budgetValues(undefined);
    const faults = (field: keyof typeof values, value: unknown, more = {}) =>
      rules[field]?.(value, { ...values, ...more });
    expect(faults("project_id", "")).toBe("budgets.subjectNeeded");
    expect(faults("project_id", "prj_1")).toBeNull();
    expect(faults("project_id", "", { scope: "tenant" })).toBeNull();
    expect(faults("key_id", "", { scope: "key" })).toBe("budgets.subjectNeeded");
    for (const wrong of ["", "0", "0.00", "-1", "1,5"]) {
      expect(faults("amount", wrong)).toBe("budgetRule");
    }
    expect(faults("amount", "0.000000000001")).toBeNull();
    for (const wrong of [["0"], ["1001"], ["half"], ["80", "1.5"]]) {
      expect(faults("alerts", wrong)).toBe("budgets.alertsRule");
    }
    expect(faults("alerts", ["1", "1000%"])).toBeNull();
  });
});
