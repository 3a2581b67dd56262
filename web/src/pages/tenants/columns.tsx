import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Tenant } from "@/api/types";
import { CountText, MoneyText, TimeText } from "@/components/Figures";
import { State } from "@/components/State";
import type { Column, TableFeatures } from "@/components/table/features";
import { BudgetBar } from "./BudgetBar";
import type { MonthSpend } from "./useMonthSpend";

const column = createColumnHelper<TableFeatures, Tenant>();

export function useTenantColumns(spend: MonthSpend): Column<Tenant>[] {
  const { t } = useTranslation(["tenants", "common"]);
  return useMemo(
    () => [
      column.display({
        id: "name",
        header: t("common:name"),
        cell: ({ row: { original } }) => <strong>{original.name}</strong>,
      }),
      column.display({
        id: "status",
        header: t("common:status"),
        cell: ({ row: { original } }) => <State value={original.status} />,
      }),
      column.display({
        id: "budget",
        header: t("spentOfBudget"),
        cell: ({ row: { original } }) => <BudgetBar tenant={original} spent={spend(original.id)} />,
      }),
      column.display({
        id: "spent",
        header: t("spentThisMonth"),
        meta: { align: "right" },
        cell: ({ row: { original } }) => <MoneyText money={spend(original.id)?.[0]} />,
      }),
      column.display({
        id: "rpm",
        header: t("common:limits.requests_per_minute"),
        meta: { align: "right", from: "md" },
        cell: ({ row: { original } }) => (
          <CountText value={original.limits.requests_per_minute} whole />
        ),
      }),
      column.display({
        id: "tpm",
        header: t("common:limits.tokens_per_minute"),
        meta: { align: "right", from: "md" },
        cell: ({ row: { original } }) => (
          <CountText value={original.limits.tokens_per_minute} whole />
        ),
      }),
      column.display({
        id: "created",
        header: t("common:created"),
        meta: { align: "right", from: "sm" },
        cell: ({ row: { original } }) => <TimeText at={original.created_at} />,
      }),
    ],
    [t, spend],
  );
}
