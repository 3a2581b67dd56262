import { SegmentedControl } from "@mantine/core";
import { IconListDetails } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { PAGE, useModelNames, useTenants, useVersion } from "@/api/lists";
import { useMay, useOwnTenant } from "@/api/session";
import { EmptyState } from "@/components/EmptyState";
import { FilterBar, SelectFilter } from "@/components/FilterBar";
import { NothingFound } from "@/components/NothingFound";
import { PageHeader } from "@/components/PageHeader";
import { Snippets } from "@/components/Snippets";
import { DataTable } from "@/components/table/DataTable";
import { Pager } from "@/components/table/Pager";
import { bounds, isRange, RANGE_NAMES } from "@/lib/ranges";
import { oneOf } from "@/lib/search";
import { useRequestColumns } from "./columns";
import { OUTCOMES } from "./outcome";
import { RequestDrawer } from "./RequestDrawer";
import { StatusFilter } from "./StatusFilter";

const route = getRouteApi("/app/requests");
const ALL_TIME = "all";
/** Not an outcome of its own: everything but `ok`. */
const ANY_FAILURE = "any_failure" as const;
/** Nor is this: whatever was refused before an upstream was asked. */
const REFUSED = "refused" as const;

function statusCode(text: string | undefined): number | undefined {
  return text && /^[1-5]\d\d$/.test(text) ? Number(text) : undefined;
}

export function RequestsPage() {
  const { t } = useTranslation(["requests", "common"]);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const may = useMay();
  const staff = useOwnTenant() === null;
  const tenants = useTenants(staff);
  const models = useModelNames();
  const version = useVersion();
  const columns = useRequestColumns(may("money.read"), staff);

  const time = useMemo(() => {
    if (search.from || search.to) return { from: search.from, to: search.to };
    // Newest first and open at the end: calls that end while the page is open belong to it.
    return search.range ? { from: bounds(search.range).from, to: undefined } : {};
  }, [search.from, search.to, search.range]);
  const requests = api.useQuery(
    "get",
    "/admin/v1/requests",
    {
      params: {
        query: {
          limit: PAGE,
          after: search.after,
          tenant_id: search.tenant,
          model: search.model,
          outcome: oneOf(search.outcome, OUTCOMES),
          errors_only: search.outcome === ANY_FAILURE || undefined,
          refused_only: search.outcome === REFUSED || undefined,
          status: statusCode(search.status),
          ...time,
        },
      },
    },
    { placeholderData: keepPreviousData },
  );

  const filtered = Boolean(
    search.tenant ||
      search.model ||
      search.outcome ||
      search.status ||
      search.range ||
      search.from ||
      search.to,
  );
  /** Nothing there at all: the page then teaches how to send the first one. */
  const blank = requests.data?.data.length === 0 && !filtered && !search.after;
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, after: undefined, ...change }, replace: true });
  const clear = () => void navigate({ search: {} });

  return (
    <>
      <PageHeader title={t("title")} purpose={staff ? t("purpose") : t("ownPurpose")} />
      {blank ? null : (
        <FilterBar active={filtered} onClear={clear}>
          <SegmentedControl
            aria-label={t("common:range.label")}
            value={search.from || search.to ? "" : (search.range ?? ALL_TIME)}
            data={[
              ...RANGE_NAMES.map((value) => ({ value, label: t(`common:range.${value}`) })),
              { value: ALL_TIME, label: t("common:all") },
            ]}
            onChange={(value) =>
              set({ range: isRange(value) ? value : undefined, from: undefined, to: undefined })
            }
          />
          {staff ? (
            <SelectFilter
              label={t("common:anyTenant")}
              value={search.tenant}
              choices={tenants.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
              onChange={(tenant) => set({ tenant })}
            />
          ) : null}
          <SelectFilter
            label={t("common:anyModel")}
            value={search.model}
            choices={models.map((name) => ({ value: name, label: name }))}
            onChange={(model) => set({ model })}
          />
          <SelectFilter
            label={t("anyOutcome")}
            value={search.outcome}
            choices={[ANY_FAILURE, REFUSED, ...OUTCOMES].map((value) => ({
              value,
              label: t(`outcome.${value}`),
            }))}
            onChange={(outcome) => set({ outcome })}
          />
          <StatusFilter value={search.status} onChange={(status) => set({ status })} />
        </FilterBar>
      )}
      <DataTable
        label={t("title")}
        columns={columns}
        rows={requests.data?.data}
        rowId={(request) => request.id}
        error={requests.error}
        onRetry={() => void requests.refetch()}
        stale={requests.isPlaceholderData}
        openId={search.open}
        onOpen={(request) => set({ open: request.id, after: search.after })}
        empty={
          filtered || search.after ? (
            <NothingFound onClear={clear} />
          ) : (
            <EmptyState
              icon={IconListDetails}
              title={t("empty.title")}
              snippet={<Snippets base={version.data?.api_url ?? undefined} model={models[0]} />}
            >
              {t("empty.body")}
            </EmptyState>
          )
        }
      />
      <Pager
        after={search.after}
        next={requests.data?.next_cursor}
        onGo={(after) => void navigate({ search: { ...search, after } })}
      />
      <RequestDrawer
        id={search.open}
        onClose={() => set({ open: undefined, after: search.after })}
      />
    </>
  );
}
