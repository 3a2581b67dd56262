import { Select } from "@mantine/core";
import { IconReceipt2 } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { CHOICES, useTenants } from "@/api/lists";
import { useOwnTenant } from "@/api/session";
import type { BillSummary } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { CountText, MoneyText } from "@/components/Figures";
import { FilterBar, SelectFilter } from "@/components/FilterBar";
import { Meaning } from "@/components/Meaning";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import type { Column, TableFeatures } from "@/components/table/features";
import { useLocale } from "@/i18n/useLocale";
import { month } from "@/lib/time";
import { isMonth, recentMonths } from "./months";

const route = getRouteApi("/app/bills");
const column = createColumnHelper<TableFeatures, BillSummary>();

export function BillsPage() {
  const { t } = useTranslation(["bills", "common"]);
  const locale = useLocale();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const staff = useOwnTenant() === null;
  const tenants = useTenants(staff);
  const months = useMemo(() => recentMonths(), []);
  const period = isMonth(search.period) ? search.period : (months[0] as string);
  const bills = api.useQuery(
    "get",
    "/admin/v1/bills",
    { params: { query: { limit: CHOICES, period, tenant_id: search.tenant } } },
    { placeholderData: keepPreviousData },
  );
  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, ...change }, replace: true });

  const columns = useMemo(
    (): Column<BillSummary>[] => [
      column.display({
        id: "tenant",
        header: t("tenant"),
        cell: ({ row: { original } }) => <strong>{original.tenant}</strong>,
      }),
      column.display({
        id: "period",
        header: t("month"),
        cell: ({ row: { original } }) => (
          <span className="tg-nowrap">{month(original.period, locale)}</span>
        ),
      }),
      column.display({
        id: "status",
        header: t("common:status"),
        cell: ({ row: { original } }) => (
          <Meaning tone={original.is_complete ? "good" : "info"}>
            {t(original.is_complete ? "status.draft" : "counting")}
          </Meaning>
        ),
      }),
      column.display({
        id: "zone",
        header: t("timeZone"),
        meta: { from: "md" },
        cell: ({ row: { original } }) => original.time_zone,
      }),
      column.display({
        id: "requests",
        header: t("requests"),
        meta: { align: "right", from: "sm" },
        cell: ({ row: { original } }) => <CountText value={original.requests} />,
      }),
      column.display({
        id: "total",
        header: t("total"),
        meta: { align: "right" },
        cell: ({ row: { original } }) =>
          original.totals.length === 0
            ? t("nothing")
            : original.totals.map((sum, index) => (
                <span key={sum.currency}>
                  {index > 0 ? " + " : null}
                  <MoneyText money={sum} />
                </span>
              )),
      }),
    ],
    [t, locale],
  );

  return (
    <>
      <PageHeader title={t("title")} purpose={t("purpose")} />
      <FilterBar active={Boolean(search.tenant)} onClear={() => set({ tenant: undefined })}>
        <Select
          data-filter
          aria-label={t("month")}
          w={180}
          data={months.map((value) => ({ value, label: month(value, locale) }))}
          value={period}
          allowDeselect={false}
          onChange={(value) =>
            set({ period: value === months[0] ? undefined : (value ?? undefined) })
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
      </FilterBar>
      <DataTable
        label={t("title")}
        columns={columns}
        rows={bills.data?.data}
        rowId={(bill) => `${bill.tenant_id}/${bill.period}`}
        error={bills.error}
        onRetry={() => void bills.refetch()}
        stale={bills.isPlaceholderData}
        onOpen={(bill) =>
          void navigate({
            to: "/bills/$tenant/$period",
            params: { tenant: bill.tenant_id, period: bill.period },
          })
        }
        empty={
          <EmptyState
            icon={IconReceipt2}
            title={t("empty.title", { month: month(period, locale) })}
          >
            {t("empty.body")}
          </EmptyState>
        }
      />
    </>
  );
}
