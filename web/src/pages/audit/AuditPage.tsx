import { IconHistory } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { PAGE } from "@/api/lists";
import { useOwnTenant } from "@/api/session";
import type { AuditEvent } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { Absent, TimeText } from "@/components/Figures";
import { FilterBar, SelectFilter } from "@/components/FilterBar";
import { Id } from "@/components/Id";
import { NothingFound } from "@/components/NothingFound";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import type { Column, TableFeatures } from "@/components/table/features";
import { Pager } from "@/components/table/Pager";
import { AuditDrawer } from "./AuditDrawer";
import { KINDS, KINDS_OF_TENANTS, useActionWords, useActorWords } from "./actions";

const route = getRouteApi("/app/audit");
const column = createColumnHelper<TableFeatures, AuditEvent>();

export function AuditPage() {
  const { t } = useTranslation(["audit", "common"]);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const action = useActionWords();
  const actorKind = useActorWords();
  const staff = useOwnTenant() === null;
  const events = api.useQuery(
    "get",
    "/admin/v1/audit-events",
    { params: { query: { limit: PAGE, after: search.after, target_kind: search.kind } } },
    { placeholderData: keepPreviousData },
  );
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, after: undefined, ...change }, replace: true });
  const clear = () => set({ kind: undefined });

  const columns = useMemo(
    (): Column<AuditEvent>[] => [
      column.display({
        id: "what",
        header: t("what"),
        cell: ({ row: { original } }) => <strong>{action(original.action)}</strong>,
      }),
      column.display({
        id: "who",
        header: t("who"),
        cell: ({ row: { original } }) => original.actor.name ?? actorKind(original.actor.kind),
      }),
      column.display({
        id: "target",
        header: t("target"),
        meta: { from: "sm" },
        cell: ({ row: { original } }) =>
          original.target_name ??
          (original.target_id ? <Id value={original.target_id} /> : <Absent />),
      }),
      column.display({
        id: "ip",
        header: t("ip"),
        meta: { from: "md" },
        cell: ({ row: { original } }) =>
          original.ip ? <span className="tg-mono">{original.ip}</span> : <Absent />,
      }),
      column.display({
        id: "reason",
        header: t("reason"),
        meta: { from: "md" },
        cell: ({ row: { original } }) => original.reason ?? <Absent />,
      }),
      column.display({
        id: "when",
        header: t("when"),
        meta: { align: "right" },
        cell: ({ row: { original } }) => <TimeText at={original.at} />,
      }),
    ],
    [t, action, actorKind],
  );

  return (
    <>
      <PageHeader title={t("title")} purpose={t("purpose")} />
      <FilterBar active={Boolean(search.kind)} onClear={clear}>
        <SelectFilter
          label={t("anyKind")}
          value={search.kind}
          choices={(staff ? KINDS : KINDS_OF_TENANTS).map((value) => ({
            value,
            label: t(`kind.${value}`),
          }))}
          onChange={(kind) => set({ kind })}
        />
      </FilterBar>
      <DataTable
        label={t("title")}
        columns={columns}
        rows={events.data?.data}
        rowId={(event) => event.id}
        error={events.error}
        onRetry={() => void events.refetch()}
        stale={events.isPlaceholderData}
        openId={search.open}
        onOpen={(event) => set({ open: event.id, after: search.after })}
        empty={
          search.kind ? (
            <NothingFound onClear={clear} />
          ) : (
            <EmptyState icon={IconHistory} title={t("empty.title")}>
              {t("empty.body")}
            </EmptyState>
          )
        }
      />
      <Pager
        after={search.after}
        next={events.data?.next_cursor}
        onGo={(after) => void navigate({ search: { ...search, after } })}
      />
      <AuditDrawer
        event={events.data?.data.find(({ id }) => id === search.open)}
        onClose={() => set({ open: undefined, after: search.after })}
      />
    </>
  );
}
