import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { RequestSummary } from "@/api/types";
import { Absent, CountText, MoneyText, TimeText } from "@/components/Figures";
import type { Column, TableFeatures } from "@/components/table/features";
import { duration } from "@/lib/numbers";
import { ModelPath } from "./ModelPath";
import { OutcomeText } from "./OutcomeText";

const column = createColumnHelper<TableFeatures, RequestSummary>();
/** A single call costs fractions of a cent; one precision for the whole column. */
const CHARGE_DECIMALS = 6;

/** The people of a tenant see neither tenants nor upstreams, but which of their keys it was. */
export function useRequestColumns(showMoney: boolean, isStaff: boolean): Column<RequestSummary>[] {
  const { t } = useTranslation(["requests", "common"]);
  return useMemo(() => {
    const columns: Column<RequestSummary>[] = [
      column.display({
        id: "time",
        header: t("time"),
        cell: ({ row: { original } }) => <TimeText at={original.accepted_at} />,
      }),
      column.display({
        id: "outcome",
        header: t("common:status"),
        cell: ({ row: { original } }) => (
          <OutcomeText outcome={original.outcome} status={original.status} />
        ),
      }),
      isStaff
        ? column.display({
            id: "tenant",
            header: t("tenant"),
            cell: ({ row: { original } }) => original.tenant ?? original.tenant_id,
          })
        : column.display({
            id: "key",
            header: t("key"),
            cell: ({ row: { original } }) => original.key ?? original.key_id,
          }),
      column.display({
        id: "model",
        header: isStaff ? t("model") : t("ownModel"),
        cell: ({ row: { original } }) => <ModelPath request={original} />,
      }),
      ...(isStaff
        ? [
            column.display({
              id: "upstream",
              header: t("upstream"),
              meta: { from: "md" as const },
              cell: ({ row: { original } }) =>
                original.upstream ? (
                  <span className="tg-nowrap">
                    {original.upstream}
                    {original.attempts > 1
                      ? ` · ${t("attempts", { count: original.attempts })}`
                      : ""}
                  </span>
                ) : (
                  <Absent />
                ),
            }),
          ]
        : []),
      column.display({
        id: "first",
        header: t("firstByte"),
        meta: { align: "right", from: "lg" },
        cell: ({ row: { original } }) =>
          original.first_byte_ms === null ? <Absent /> : duration(original.first_byte_ms),
      }),
      column.display({
        id: "duration",
        header: t("duration"),
        meta: { align: "right", from: "sm" },
        cell: ({ row: { original } }) => (
          <span className="tg-nowrap">{duration(original.duration_ms)}</span>
        ),
      }),
      column.display({
        id: "in",
        header: t("tokensIn"),
        meta: { align: "right", from: "sm" },
        cell: ({ row: { original } }) => <CountText value={original.input_tokens} />,
      }),
      column.display({
        id: "out",
        header: t("tokensOut"),
        meta: { align: "right", from: "sm" },
        cell: ({ row: { original } }) => <CountText value={original.output_tokens} />,
      }),
    ];
    if (showMoney) {
      columns.push(
        column.display({
          id: "charge",
          header: t("charge"),
          meta: { align: "right" },
          cell: ({ row: { original } }) => (
            <MoneyText money={original.charge} decimals={CHARGE_DECIMALS} />
          ),
        }),
      );
    }
    return columns;
  }, [t, showMoney, isStaff]);
}
