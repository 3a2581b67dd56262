import { useTranslation } from "react-i18next";
import type { Tenant } from "@/api/types";
import { Absent } from "@/components/Figures";
import { useLocale } from "@/i18n/useLocale";
import { formatMoney, type Money } from "@/lib/money";
import classes from "./BudgetBar.module.css";
import { SpentBar } from "./SpentBar";

/** How much of a tenant's own budget is spent. What the bills say is of the month; another period has its words alone. */
export function BudgetBar({ tenant, spent }: { tenant: Tenant; spent: Money[] | undefined }) {
  const { t } = useTranslation("tenants");
  const locale = useLocale();
  const budget = tenant.budget;
  if (!budget) return <span className={classes.none}>{t("noBudget")}</span>;
  if (budget.period !== "month") {
    return <span>{t(`budgetOf.${budget.period}`, { amount: formatMoney(budget, locale) })}</span>;
  }
  if (!spent) return <Absent />;
  const same = spent.find((sum) => sum.currency === budget.currency);
  return <SpentBar of={budget} spent={same?.amount ?? "0"} />;
}
