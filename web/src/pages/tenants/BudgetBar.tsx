import { useTranslation } from "react-i18next";
import type { Tenant } from "@/api/types";
import { Absent } from "@/components/Figures";
import { useLocale } from "@/i18n/useLocale";
import { formatMoney, type Money, share } from "@/lib/money";
import classes from "./BudgetBar.module.css";

const NEAR = 0.8;

function tone(part: number): "over" | "near" | "within" {
  if (part >= 1) return "over";
  return part >= NEAR ? "near" : "within";
}

/** How much of the month's budget is spent; the word is in the label, not only in the colour. */
export function BudgetBar({ tenant, spent }: { tenant: Tenant; spent: Money[] | undefined }) {
  const { t } = useTranslation(["tenants", "common"]);
  const locale = useLocale();
  const budget = tenant.budget;
  if (!budget) return <span className={classes.none}>{t("noBudget")}</span>;
  if (!spent) return <Absent />;
  const same = spent.find((sum) => sum.currency === budget.currency);
  const part = share(same?.amount ?? "0", budget.amount);
  const label = t(`budget.${tone(part)}`, {
    percent: Math.round(part * 100),
    amount: formatMoney(budget, locale),
  });
  return (
    <span className={classes.budget} title={label}>
      <span className={classes.track} data-tone={tone(part)}>
        <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
          <rect width={part * 100} height="6" />
        </svg>
      </span>
      <span className={classes.words}>{label}</span>
    </span>
  );
}
