import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Bill } from "@/api/types";
import { DataTable } from "@/components/table/DataTable";
import type { Column, TableFeatures } from "@/components/table/features";
import { useClassName } from "@/components/useClassName";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney } from "@/lib/money";
import { exact } from "@/lib/numbers";
import { day } from "@/lib/time";
import classes from "./Bill.module.css";

type Line = Bill["sections"][number]["lines"][number];
const column = createColumnHelper<TableFeatures, Line>();

/** Tokens × price, one line a model, class and price; exact, since only the total is rounded. */
export function BillLines({ lines }: { lines: Line[] }) {
  const { t } = useTranslation("bills");
  const locale = useLocale();
  const className = useClassName();
  const columns = useMemo(
    (): Column<Line>[] => [
      column.display({
        id: "model",
        header: t("model"),
        cell: ({ row: { original } }) => <strong>{original.model}</strong>,
      }),
      column.display({
        id: "class",
        header: t("class"),
        cell: ({ row: { original } }) => (
          <span className="tg-nowrap">
            {original.priced_as === original.class
              ? className(original.class)
              : t("pricedAs", {
                  class: className(original.class),
                  other: className(original.priced_as),
                })}
          </span>
        ),
      }),
      column.display({
        id: "since",
        header: t("priceSince"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) => (
          <span className={classes.since}>{day(original.price_valid_from, locale)}</span>
        ),
      }),
      column.display({
        id: "tokens",
        header: t("tokens"),
        meta: { align: "right" },
        cell: ({ row: { original } }) => exact(original.tokens, locale),
      }),
      column.display({
        id: "price",
        header: t("perMillion"),
        meta: { align: "right" },
        cell: ({ row: { original } }) =>
          exactMoney(
            { amount: original.price_per_million, currency: original.amount.currency },
            locale,
          ),
      }),
      column.display({
        id: "amount",
        header: t("amount"),
        meta: { align: "right" },
        cell: ({ row: { original } }) => exactMoney(original.amount, locale),
      }),
    ],
    [t, locale, className],
  );
  return (
    <DataTable
      label={t("lines")}
      columns={columns}
      rows={lines}
      rowId={(line) =>
        [line.model, line.class, line.price_version_id, line.amount.currency].join("|")
      }
      empty={null}
    />
  );
}
