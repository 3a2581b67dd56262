import { IconTags } from "@tabler/icons-react";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { CHOICES } from "@/api/lists";
import type { AvailableModel, ClassPrices } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { Absent, TimeText } from "@/components/Figures";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import type { Column, TableFeatures } from "@/components/table/features";
import { PriceText } from "./PriceText";

const column = createColumnHelper<TableFeatures, AvailableModel>();
const PRICED = [
  "input_uncached",
  "input_cache_read",
  "output_text",
] as const satisfies readonly (keyof ClassPrices)[];

/** What the people of a tenant may call, and what it costs them. */
export function AvailableModelsPage() {
  const { t } = useTranslation(["models", "common"]);
  const models = api.useQuery("get", "/admin/v1/available-models", {
    params: { query: { limit: CHOICES } },
  });
  const columns = useMemo(
    (): Column<AvailableModel>[] => [
      column.display({
        id: "name",
        header: t("publicName"),
        cell: ({ row: { original } }) => <strong>{original.name}</strong>,
      }),
      column.display({
        id: "aliases",
        header: t("aliases"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) => original.aliases.join(", ") || <Absent />,
      }),
      ...PRICED.map((name) =>
        column.display({
          id: name,
          header: t(`common:usageClass.${name}`),
          meta: { align: "right" },
          cell: ({ row: { original } }) => <PriceText price={original.price} name={name} />,
        }),
      ),
      column.display({
        id: "since",
        header: t("available.since"),
        meta: { align: "right", from: "md" },
        cell: ({ row: { original } }) => <TimeText at={original.price.valid_from} />,
      }),
    ],
    [t],
  );
  return (
    <>
      <PageHeader title={t("title")} purpose={t("available.purpose")} />
      <DataTable
        label={t("title")}
        columns={columns}
        rows={models.data?.data}
        rowId={(model) => model.id}
        error={models.error}
        onRetry={() => void models.refetch()}
        empty={
          <EmptyState icon={IconTags} title={t("available.emptyTitle")}>
            {t("available.emptyBody")}
          </EmptyState>
        }
      />
    </>
  );
}
