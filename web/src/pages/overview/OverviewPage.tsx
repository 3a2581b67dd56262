import { SegmentedControl } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { ErrorState } from "@/components/ErrorState";
import { PageHeader } from "@/components/PageHeader";
import { isRange, RANGES, type RangeName } from "@/lib/ranges";
import { AttentionList } from "./AttentionList";
import { GettingStarted } from "./GettingStarted";
import { Leaders } from "./Leaders";
import classes from "./Overview.module.css";
import { OverviewSkeleton } from "./OverviewSkeleton";
import { Tiles } from "./Tiles";
import { UsageCharts } from "./UsageCharts";

const route = getRouteApi("/app/");
const OFFERED = ["24h", "7d", "30d"] as const satisfies readonly RangeName[];
const HOUR_SECONDS = 3_600;
const REFRESH_MS = 30_000;
/** While somebody waits for the first request, the page looks more often. */
const WAITING_MS = 4_000;

export function OverviewPage() {
  const { t } = useTranslation(["overview", "common"]);
  const { range = "24h" } = route.useSearch();
  const navigate = route.useNavigate();
  const overview = api.useQuery(
    "get",
    "/admin/v1/overview",
    { params: { query: { window_hours: RANGES[range].seconds / HOUR_SECONDS } } },
    {
      refetchInterval: ({ state }) =>
        state.data?.getting_started.latest_request_id === null ? WAITING_MS : REFRESH_MS,
    },
  );
  const shown = overview.data;
  const started = shown?.getting_started;
  const busy = !started || started.latest_request_id !== null;

  return (
    <>
      <PageHeader
        title={t("title")}
        purpose={t("purpose")}
        action={
          <SegmentedControl
            aria-label={t("common:range.label")}
            value={range}
            data={OFFERED.map((value) => ({ value, label: t(`common:range.${value}`) }))}
            onChange={(value) => {
              if (isRange(value)) void navigate({ search: { range: value }, replace: true });
            }}
          />
        }
      />
      {overview.error ? (
        <ErrorState error={overview.error} onRetry={() => void overview.refetch()} />
      ) : null}
      {shown ? (
        <div className={classes.page}>
          {started && !busy ? <GettingStarted steps={started} /> : null}
          {busy ? <Tiles overview={shown} range={range} /> : null}
          {shown.attention.length > 0 ? <AttentionList items={shown.attention} /> : null}
          {busy ? (
            <>
              <UsageCharts range={range} />
              <Leaders overview={shown} range={range} />
            </>
          ) : null}
        </div>
      ) : overview.error ? null : (
        <OverviewSkeleton />
      )}
    </>
  );
}
