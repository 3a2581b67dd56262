import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { ApiKey } from "@/api/types";
import { TimeText } from "@/components/Figures";
import { State } from "@/components/State";
import type { Column, TableFeatures } from "@/components/table/features";

const column = createColumnHelper<TableFeatures, ApiKey>();

/** `sk-tg1_a8Kq02Zx…9fQz`: how people tell keys apart. */
export function maskedKey(key: ApiKey): string {
  return `${key.prefix}…${key.last4}`;
}

/** Without a way to name tenants there is no column of them. */
export function useKeyColumns(
  tenantName: ((id: string) => string | undefined) | null,
): Column<ApiKey>[] {
  const { t } = useTranslation(["keys", "common"]);
  return useMemo(
    () => [
      column.display({
        id: "name",
        header: t("common:name"),
        cell: ({ row: { original } }) => <strong>{original.name}</strong>,
      }),
      ...(tenantName
        ? [
            column.display({
              id: "tenant",
              header: t("tenant"),
              cell: ({ row: { original } }) => tenantName(original.tenant_id) ?? "",
            }),
          ]
        : []),
      column.display({
        id: "status",
        header: t("common:status"),
        cell: ({ row: { original } }) => <State value={original.status} />,
      }),
      column.display({
        id: "key",
        header: t("key"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) => (
          <span className="tg-mono tg-nowrap">{maskedKey(original)}</span>
        ),
      }),
      column.display({
        id: "models",
        header: t("models"),
        meta: { from: "md" },
        cell: ({ row: { original } }) => original.allowed_models?.join(", ") ?? t("allModels"),
      }),
      column.display({
        id: "used",
        header: t("lastUsed"),
        meta: { align: "right" },
        cell: ({ row: { original } }) =>
          original.last_used_at ? <TimeText at={original.last_used_at} /> : t("common:never"),
      }),
      column.display({
        id: "expires",
        header: t("expires"),
        meta: { align: "right", from: "md" },
        cell: ({ row: { original } }) =>
          original.expires_at ? <TimeText at={original.expires_at} /> : t("common:never"),
      }),
      column.display({
        id: "created",
        header: t("common:created"),
        meta: { align: "right", from: "sm" },
        cell: ({ row: { original } }) => <TimeText at={original.created_at} />,
      }),
    ],
    [t, tenantName],
  );
}
