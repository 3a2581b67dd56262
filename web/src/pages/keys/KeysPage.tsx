import { useDebouncedValue } from "@mantine/hooks";
import { IconKey, IconPlus } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { PAGE, TYPING_MS, useTenantName, useTenants, useVersion } from "@/api/lists";
import { useMay, useOwnTenant } from "@/api/session";
import type { ApiKey } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { FilterBar, NameFilter, SelectFilter } from "@/components/FilterBar";
import { ButtonLink } from "@/components/links";
import { NothingFound } from "@/components/NothingFound";
import { PageHeader } from "@/components/PageHeader";
import { Snippets } from "@/components/Snippets";
import { DataTable } from "@/components/table/DataTable";
import { Pager } from "@/components/table/Pager";
import { oneOf } from "@/lib/search";
import { useKeyColumns } from "./columns";
import { KeyDrawer } from "./KeyDrawer";

const route = getRouteApi("/app/keys");
const STATUSES = ["active", "revoked"] as const;
const ORDER = { expired: 0, active: 1, revoked: 2 } as const;

/** Expired keys first, revoked ones last, the rest by their latest use. */
function byAttention(a: ApiKey, b: ApiKey): number {
  if (a.status !== b.status) return ORDER[a.status] - ORDER[b.status];
  return (b.last_used_at ?? "").localeCompare(a.last_used_at ?? "");
}

export function KeysPage() {
  const { t } = useTranslation(["keys", "common"]);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const may = useMay();
  const staff = useOwnTenant() === null;
  const tenants = useTenants(staff);
  const tenantName = useTenantName();
  const version = useVersion();
  const [q] = useDebouncedValue(search.q, TYPING_MS);
  const keys = api.useQuery(
    "get",
    "/admin/v1/api-keys",
    {
      params: {
        query: {
          limit: PAGE,
          after: search.after,
          q,
          status: oneOf(search.status, STATUSES),
          tenant_id: search.tenant,
        },
      },
    },
    { placeholderData: keepPreviousData },
  );
  const columns = useKeyColumns(staff ? tenantName : null);

  const rows = useMemo(() => keys.data && [...keys.data.data].sort(byAttention), [keys.data]);
  const filtered = Boolean(search.q || search.status || search.tenant);
  /** Nothing there at all: the page then teaches, with one action. */
  const blank = rows?.length === 0 && !filtered && !search.after;
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, after: undefined, ...change }, replace: true });
  const clear = () => set({ q: undefined, status: undefined, tenant: undefined });

  const create = may("api_keys.write") ? (
    <ButtonLink
      to="/keys/new"
      search={{ tenant: search.tenant }}
      leftSection={<IconPlus size={16} />}
    >
      {t("create")}
    </ButtonLink>
  ) : null;

  return (
    <>
      <PageHeader
        title={t("title")}
        purpose={staff ? t("purpose") : t("ownPurpose")}
        action={blank ? null : create}
      />
      {blank ? null : (
        <FilterBar active={filtered} onClear={clear}>
          <NameFilter value={search.q} onChange={(q) => set({ q })} />
          {staff ? (
            <SelectFilter
              label={t("common:anyTenant")}
              value={search.tenant}
              choices={tenants.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
              onChange={(tenant) => set({ tenant })}
            />
          ) : null}
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
        rowId={(key) => key.id}
        error={keys.error}
        onRetry={() => void keys.refetch()}
        stale={keys.isPlaceholderData}
        openId={search.open}
        onOpen={(key) => set({ open: key.id, after: search.after })}
        empty={
          filtered ? (
            <NothingFound onClear={clear} />
          ) : (
            <EmptyState
              icon={IconKey}
              title={t("empty.title")}
              action={create}
              snippet={<Snippets base={version.data?.api_url ?? undefined} />}
            >
              {staff ? t("empty.body") : t("empty.ownBody")}
            </EmptyState>
          )
        }
      />
      <Pager
        after={search.after}
        next={keys.data?.next_cursor}
        onGo={(after) => void navigate({ search: { ...search, after } })}
      />
      <KeyDrawer
        id={search.open}
        tenantName={tenantName}
        onClose={() => set({ open: undefined, after: search.after })}
      />
    </>
  );
}
