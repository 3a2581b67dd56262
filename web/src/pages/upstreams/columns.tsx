import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Upstream } from "@/api/types";
import { TimeText } from "@/components/Figures";
import { State } from "@/components/State";
import type { Column, TableFeatures } from "@/components/table/features";
import { CredentialCount } from "./CredentialCount";
import { proxyText } from "./proxies";

const column = createColumnHelper<TableFeatures, Upstream>();

export function useUpstreamColumns(): Column<Upstream>[] {
  const { t } = useTranslation(["upstreams", "common"]);
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
        id: "dialect",
        header: t("dialect"),
        cell: ({ row: { original } }) => (
          <span className="tg-nowrap">{t(`common:dialect.${original.dialect}`)}</span>
        ),
      }),
      column.display({
        id: "url",
        header: t("baseUrl"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) => <span className="tg-mono">{original.base_url}</span>,
      }),
      column.display({
        id: "proxy",
        header: t("proxy"),
        meta: { from: "md" },
        cell: ({ row: { original } }) =>
          original.proxy ? (
            <span className="tg-mono">{proxyText(original.proxy)}</span>
          ) : (
            t("direct")
          ),
      }),
      column.display({
        id: "credentials",
        header: t("credentials"),
        meta: { align: "right" },
        cell: ({ row: { original } }) => <CredentialCount upstream={original} />,
      }),
      column.display({
        id: "updated",
        header: t("common:updated"),
        meta: { align: "right", from: "sm" },
        cell: ({ row: { original } }) => <TimeText at={original.updated_at} />,
      }),
    ],
    [t],
  );
}
