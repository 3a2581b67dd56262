import { useDebouncedValue } from "@mantine/hooks";
import { IconPlus, IconServer2 } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { PAGE, TYPING_MS } from "@/api/lists";
import { useMay } from "@/api/session";
import type { Upstream } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { FilterBar, NameFilter, SelectFilter } from "@/components/FilterBar";
import { ButtonLink } from "@/components/links";
import { NothingFound } from "@/components/NothingFound";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import { Pager } from "@/components/table/Pager";
import { oneOf } from "@/lib/search";
import { hasNoWorkingCredential } from "./CredentialCount";
import { useUpstreamColumns } from "./columns";
import { UpstreamDrawer } from "./UpstreamDrawer";

const route = getRouteApi("/app/upstreams");
const STATUSES = ["active", "disabled"] as const;

/** What cannot be called comes first, what is switched off last. */
function rank(upstream: Upstream): number {
  if (upstream.status === "disabled") return 2;
  return hasNoWorkingCredential(upstream) ? 0 : 1;
}

export function UpstreamsPage() {
  const { t } = useTranslation(["upstreams", "common"]);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const may = useMay();
  const [q] = useDebouncedValue(search.q, TYPING_MS);
  const upstreams = api.useQuery(
    "get",
    "/admin/v1/upstreams",
    {
      params: {
        query: {
          limit: PAGE,
          after: search.after,
          q,
          status: oneOf(search.status, STATUSES),
        },
      },
    },
    { placeholderData: keepPreviousData },
  );
  const columns = useUpstreamColumns();

  const rows = useMemo(
    () =>
      upstreams.data &&
      [...upstreams.data.data].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name)),
    [upstreams.data],
  );
  const filtered = Boolean(search.q || search.status);
  /** Nothing there at all: the page then teaches, with one action. */
  const blank = rows?.length === 0 && !filtered && !search.after;
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, after: undefined, ...change }, replace: true });
  const clear = () => set({ q: undefined, status: undefined });

  const create = may("upstreams.write") ? (
    <ButtonLink to="/upstreams/new" leftSection={<IconPlus size={16} />}>
      {t("create")}
    </ButtonLink>
  ) : null;

  return (
    <>
      <PageHeader title={t("title")} purpose={t("purpose")} action={blank ? null : create} />
      {blank ? null : (
        <FilterBar active={filtered} onClear={clear}>
          <NameFilter value={search.q} onChange={(q) => set({ q })} />
          <SelectFilter
            label={t("common:anyStatus")}
            value={search.status}
            choices={STATUSES.map((value) => ({
              value,
              label: t(`common:state.${value}`),
            }))}
            onChange={(status) => set({ status })}
          />
        </FilterBar>
      )}
      <DataTable
        label={t("title")}
        columns={columns}
        rows={rows}
        rowId={(upstream) => upstream.id}
        error={upstreams.error}
        onRetry={() => void upstreams.refetch()}
        stale={upstreams.isPlaceholderData}
        openId={search.open}
        onOpen={(upstream) => set({ open: upstream.id, after: search.after })}
        empty={
          filtered ? (
            <NothingFound onClear={clear} />
          ) : (
            <EmptyState icon={IconServer2} title={t("empty.title")} action={create}>
              {t("empty.body")}
            </EmptyState>
          )
        }
      />
      <Pager
        after={search.after}
        next={upstreams.data?.next_cursor}
        onGo={(after) => void navigate({ search: { ...search, after } })}
      />
      <UpstreamDrawer
        id={search.open}
        onClose={() => set({ open: undefined, after: search.after })}
      />
    </>
  );
}
