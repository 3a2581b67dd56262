import { useTranslation } from "react-i18next";
import type { Bill } from "@/api/types";
import { Note } from "@/components/Meaning";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney, formatMoney, isZero } from "@/lib/money";
import classes from "./Bill.module.css";

/** The exact sum, what rounding did to it, and what is owed. */
export function BillSums({ section }: { section: Bill["sections"][number] }) {
  const { t } = useTranslation("bills");
  const locale = useLocale();
  const { exact, rounding, total, unexplained } = section;
  return (
    <>
      {isZero(unexplained.amount) ? null : (
        <Note tone="bad" title={t("unexplained")}>
          {t("unexplainedHelp", { amount: exactMoney(unexplained, locale) })}
        </Note>
      )}
      <dl className={classes.sums}>
        <div className={classes.sum}>
          <dt>{t("exact")}</dt>
          <dd>{exactMoney(exact, locale)}</dd>
        </div>
        <div className={classes.sum}>
          <dt>{t("rounding")}</dt>
          <dd>{exactMoney(rounding, locale)}</dd>
        </div>
        <div className={`${classes.sum} ${classes.total}`}>
          <dt>{t("total")}</dt>
          <dd>{formatMoney(total, locale)}</dd>
        </div>
      </dl>
    </>
  );
}
