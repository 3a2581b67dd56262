import { useDebouncedValue } from "@mantine/hooks";
import { IconBuilding, IconPlus } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { PAGE, TYPING_MS } from "@/api/lists";
import { useMay, useOwnTenant } from "@/api/session";
import type { Tenant } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { FilterBar, NameFilter, SelectFilter } from "@/components/FilterBar";
import { ButtonLink } from "@/components/links";
import { NothingFound } from "@/components/NothingFound";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import { Pager } from "@/components/table/Pager";
import { oneOf } from "@/lib/search";
import { useTenantColumns } from "./columns";
import { OwnTenant } from "./OwnTenant";
import { TenantDrawer } from "./TenantDrawer";
import { useMonthSpend } from "./useMonthSpend";

const route = getRouteApi("/app/tenants");
const STATUSES = ["active", "suspended"] as const;

/** Suspended tenants first: the list opens on what needs attention. */
function byAttention(a: Tenant, b: Tenant): number {
  if (a.status !== b.status) return a.status === "suspended" ? -1 : 1;
  return a.name.localeCompare(b.name);
}

export function TenantsPage() {
  const own = useOwnTenant();
  return own ? <OwnTenant tenant={own} /> : <AllTenants />;
}

function AllTenants() {
  const { t } = useTranslation(["tenants", "common"]);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const may = useMay();
  const [q] = useDebouncedValue(search.q, TYPING_MS);
  const tenants = api.useQuery(
    "get",
    "/admin/v1/tenants",
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
  const spend = useMonthSpend();
  const columns = useTenantColumns(spend);

  const rows = useMemo(
    () => tenants.data && [...tenants.data.data].sort(byAttention),
    [tenants.data],
  );
  const filtered = Boolean(search.q || search.status);
  /** Nothing there at all: the page then teaches, with one action. */
  const blank = rows?.length === 0 && !filtered && !search.after;
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, after: undefined, ...change }, replace: true });
  const clear = () => set({ q: undefined, status: undefined });

  const create = may("tenants.write") ? (
    <ButtonLink to="/tenants/new" leftSection={<IconPlus size={16} />}>
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
            choices={STATUSES.map((value) => ({ value, label: t(`common:state.${value}`) }))}
            onChange={(status) => set({ status })}
          />
        </FilterBar>
      )}
      <DataTable
        label={t("title")}
        columns={columns}
        rows={rows}
        rowId={(tenant) => tenant.id}
        error={tenants.error}
        onRetry={() => void tenants.refetch()}
        stale={tenants.isPlaceholderData}
        openId={search.open}
        onOpen={(tenant) => set({ open: tenant.id, after: search.after })}
        empty={
          filtered ? (
            <NothingFound onClear={clear} />
          ) : (
            <EmptyState icon={IconBuilding} title={t("empty.title")} action={create}>
              {t("empty.body")}
            </EmptyState>
          )
        }
      />
      <Pager
        after={search.after}
        next={tenants.data?.next_cursor}
        onGo={(after) => void navigate({ search: { ...search, after } })}
      />
      <TenantDrawer
        id={search.open}
        onClose={() => set({ open: undefined, after: search.after })}
      />
    </>
  );
}
