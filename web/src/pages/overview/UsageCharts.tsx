import { Skeleton } from "@mantine/core";
import { keepPreviousData } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { ErrorState } from "@/components/ErrorState";
import { useLocale } from "@/i18n/useLocale";
import { formatMoney, isZero, sumMoney } from "@/lib/money";
import { bounds, RANGES, type RangeName } from "@/lib/ranges";
import classes from "./Overview.module.css";
import { BUCKET_MS, requestRows, tokenRows } from "./rows";

// Recharts is heavier than the rest of the page; it arrives after the figures are read.
const RequestsChart = lazy(() => import("./charts/RequestsChart"));
const TokensChart = lazy(() => import("./charts/TokensChart"));

const REFRESH_MS = 60_000;

export function UsageCharts({ range }: { range: RangeName }) {
  const { t } = useTranslation("overview");
  const locale = useLocale();
  const navigate = useNavigate();
  const { bucket } = RANGES[range];
  const window = useMemo(() => bounds(range), [range]);
  const options = { refetchInterval: REFRESH_MS, placeholderData: keepPreviousData };
  const usage = api.useQuery(
    "get",
    "/admin/v1/usage",
    { params: { query: { ...window, bucket, group_by: "model" } } },
    options,
  );
  if (usage.error && !usage.data) {
    return <ErrorState error={usage.error} onRetry={() => void usage.refetch()} />;
  }
  const saved = sumMoney(usage.data?.data.flatMap((point) => point.cache_saved) ?? [])
    .filter(({ amount }) => !isZero(amount))
    .map((sum) => formatMoney(sum, locale))
    .join(" + ");
  const wait = <Skeleton height={220} />;
  const open = (start: string) => {
    const from = Date.parse(start);
    const to = new Date(from + BUCKET_MS[bucket]).toISOString();
    void navigate({ to: "/requests", search: { from: new Date(from).toISOString(), to } });
  };
  return (
    <div className={classes.panels}>
      <section className={classes.panel}>
        <h2 className={classes.panelTitle}>
          {t("requests")}
          <span className={classes.panelHelp}>{t(`per.${bucket}`)}</span>
        </h2>
        <Suspense fallback={wait}>
          {usage.data ? (
            <RequestsChart
              rows={requestRows(usage.data, window, bucket)}
              bucket={bucket}
              onOpen={open}
            />
          ) : (
            wait
          )}
        </Suspense>
      </section>
      <section className={classes.panel}>
        <h2 className={classes.panelTitle}>
          {t("tokens")}
          <span className={classes.panelHelp}>
            {[t(`perByModel.${bucket}`), saved ? t("cacheSaved", { amount: saved }) : ""]
              .filter(Boolean)
              .join(" · ")}
          </span>
        </h2>
        <Suspense fallback={wait}>
          {usage.data ? (
            <TokensChart
              {...tokenRows(usage.data, window, bucket, t("other"))}
              other={t("other")}
              bucket={bucket}
              onOpen={open}
            />
          ) : (
            wait
          )}
        </Suspense>
      </section>
    </div>
  );
}
