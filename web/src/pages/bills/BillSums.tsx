import { useTranslation } from "react-i18next";
import type { Bill } from "@/api/types";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney, formatMoney } from "@/lib/money";
import classes from "./Bill.module.css";

/** The exact sum, what rounding did to it, and what is owed; once for each currency. */
export function BillSums({ sums }: { sums: Bill["sums"] }) {
  const { t } = useTranslation("bills");
  const locale = useLocale();
  return (
    <>
      {sums.map(({ exact, rounding, total }) => (
        <dl key={total.currency} className={classes.sums}>
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
      ))}
    </>
  );
}
