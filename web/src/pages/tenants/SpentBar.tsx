import { useTranslation } from "react-i18next";
import { useLocale } from "@/i18n/useLocale";
import { formatMoney, type Money, share } from "@/lib/money";
import classes from "./BudgetBar.module.css";

const NEAR = 0.8;

function tone(part: number): "over" | "near" | "within" {
  if (part >= 1) return "over";
  return part >= NEAR ? "near" : "within";
}

/** How much of an amount is spent; the word is in the label, not only in the colour. */
export function SpentBar({ of, spent }: { of: Money; spent: string }) {
  const { t } = useTranslation("tenants");
  const locale = useLocale();
  const part = share(spent, of.amount);
  const label = t(`budget.${tone(part)}`, {
    // Whole percents that are reached: 99.9 is not all of it.
    percent: Math.floor(Math.round(part * 1000) / 10),
    amount: formatMoney(of, locale),
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
