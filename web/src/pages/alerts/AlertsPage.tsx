import { Stack, Text } from "@mantine/core";
import { IconBell, IconRefresh } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { createColumnHelper } from "@tanstack/react-table";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { PAGE } from "@/api/lists";
import { useMay } from "@/api/session";
import type { Notification } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { MoneyText, TimeText } from "@/components/Figures";
import { FilterBar, SelectFilter } from "@/components/FilterBar";
import { FormFailure } from "@/components/form/FormFailure";
import { IconAction } from "@/components/IconAction";
import { Meaning, type Tone } from "@/components/Meaning";
import { PageHeader } from "@/components/PageHeader";
import { DataTable } from "@/components/table/DataTable";
import type { Column, TableFeatures } from "@/components/table/features";
import { Pager } from "@/components/table/Pager";

const route = getRouteApi("/app/alerts");
const column = createColumnHelper<TableFeatures, Notification>();

const TONES = {
  pending: "info",
  sent: "good",
  failed: "bad",
  recorded: "quiet",
} as const satisfies Record<Notification["state"], Tone>;
const STATES = Object.keys(TONES) as Notification["state"][];

/** What the server tells, as far as it is shown; the document leaves it open. */
interface Told {
  type?: string;
  percent?: number | null;
  spent?: string;
  amount?: string;
  remaining?: string;
  currency?: string;
  tenant?: { name?: string };
  budget?: { scope?: string; period?: "day" | "month" | "total" };
}

export function AlertsPage() {
  const { t } = useTranslation(["balances", "tenants", "common"]);
  const may = useMay();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const changed = useChanged("notifications");
  const state = STATES.find((known) => known === search.state);
  const told = api.useQuery(
    "get",
    "/admin/v1/notifications",
    { params: { query: { limit: PAGE, state, after: search.after } } },
    { placeholderData: keepPreviousData },
  );
  const retry = api.useMutation("post", "/admin/v1/notifications/{id}:retry", {
    onSuccess: () => changed(t("alerts.retried")),
  });
  const retries = may("notifications.retry");
  const again = retry.mutate;

  const columns = useMemo(
    (): Column<Notification>[] => [
      column.display({
        id: "what",
        header: t("alerts.what"),
        cell: ({ row: { original } }) => <What told={original.event as Told} />,
      }),
      column.display({
        id: "at",
        header: t("alerts.at"),
        cell: ({ row: { original } }) => <TimeText at={original.created_at} />,
      }),
      column.display({
        id: "state",
        header: t("common:status"),
        cell: ({ row: { original } }) => (
          <Stack gap={0}>
            <Meaning tone={TONES[original.state]}>{t(`alerts.states.${original.state}`)}</Meaning>
            {original.last_error ? (
              <Text fz="xs" c="dimmed">
                {original.last_error}
              </Text>
            ) : null}
          </Stack>
        ),
      }),
      column.display({
        id: "spent",
        header: t("spent"),
        meta: { align: "right", from: "sm" },
        cell: ({ row: { original } }) => {
          const { spent, currency } = original.event as Told;
          return <MoneyText money={spent && currency ? { amount: spent, currency } : null} />;
        },
      }),
      ...(retries
        ? [
            column.display({
              id: "retry",
              header: t("common:actions"),
              meta: { align: "right" },
              cell: ({ row: { original } }) =>
                original.state === "failed" || original.state === "recorded" ? (
                  <IconAction
                    label={t("alerts.retry")}
                    onClick={() => again({ params: { path: { id: original.id } } })}
                  >
                    <IconRefresh size={16} />
                  </IconAction>
                ) : null,
            }),
          ]
        : []),
    ],
    [t, retries, again],
  );

  const set = (change: Partial<typeof search>) =>
    void navigate({ search: { ...search, after: undefined, ...change }, replace: true });
  return (
    <>
      <PageHeader title={t("alerts.title")} purpose={t("alerts.purpose")} />
      <FormFailure error={retry.error} />
      <FilterBar active={Boolean(state)} onClear={() => set({ state: undefined })}>
        <SelectFilter
          label={t("anyState")}
          value={state}
          choices={STATES.map((value) => ({ value, label: t(`alerts.states.${value}`) }))}
          onChange={(value) => set({ state: value })}
        />
      </FilterBar>
      <DataTable
        label={t("alerts.title")}
        columns={columns}
        rows={told.data?.data}
        rowId={({ id }) => id}
        error={told.error}
        onRetry={() => void told.refetch()}
        stale={told.isPlaceholderData}
        empty={
          <EmptyState icon={IconBell} title={t("alerts.empty.title")}>
            {t("alerts.empty.body")}
          </EmptyState>
        }
      />
      <Pager
        after={search.after}
        next={told.data?.next_cursor}
        onGo={(after) => void navigate({ search: { ...search, after } })}
      />
    </>
  );
}

function What({ told }: { told: Told }) {
  const { t } = useTranslation(["balances", "tenants"]);
  const { type, percent, budget } = told;
  const period = budget?.period ? t(`tenants:budgets.periods.${budget.period}`) : "";
  return (
    <Stack gap={0}>
      <strong>{told.tenant?.name}</strong>
      <Text fz="xs" c="dimmed">
        {type === "balance.low" ? t("alerts.low") : t("alerts.passed", { percent, period })}
      </Text>
    </Stack>
  );
}
