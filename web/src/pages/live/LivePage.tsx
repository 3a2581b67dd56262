import { IconActivity } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import type { LiveRequest } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import { CancelRequest } from "./CancelRequest";
import { useLiveColumns } from "./columns";

/** How often the page asks again; milliseconds. */
const REFRESH_MS = 2_000;

/** The requests this replica is serving now, the oldest first. */
export function LivePage() {
  const { t } = useTranslation("live");
  const [cancelling, setCancelling] = useState<LiveRequest>();
  const live = api.useQuery("get", "/admin/v1/in-flight", {}, { refetchInterval: REFRESH_MS });
  const columns = useLiveColumns(live.dataUpdatedAt, setCancelling);
  return (
    <>
      <PageHeader title={t("title")} purpose={t("purpose")} />
      <DataTable
        label={t("title")}
        columns={columns}
        rows={live.data?.data}
        rowId={(request) => request.request_id}
        error={live.error}
        onRetry={() => void live.refetch()}
        empty={
          <EmptyState icon={IconActivity} title={t("empty.title")}>
            {t("empty.body")}
          </EmptyState>
        }
      />
      <CancelRequest request={cancelling} onClose={() => setCancelling(undefined)} />
    </>
  );
}
