import { SegmentedControl } from "@mantine/core";
import { IconKey, IconPlus } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useModelNames, useVersion } from "@/api/lists";
import { useMay } from "@/api/session";
import type { Session, UsagePoint } from "@/api/types";
import { EmptyState } from "@/components/EmptyState";
import { ErrorState } from "@/components/ErrorState";
import { ButtonLink } from "@/components/links";
import { PageHeader } from "@/components/PageHeader";
import { Snippets } from "@/components/Snippets";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney, formatMoney } from "@/lib/money";
import { compact, duration, exact, percent } from "@/lib/numbers";
import { bounds, isRange, type RangeName } from "@/lib/ranges";
import { Budgets } from "@/pages/tenants/Budgets";
import classes from "./Overview.module.css";
import { Tile } from "./Tiles";
import { UsageCharts } from "./UsageCharts";

const route = getRouteApi("/app/");
const OFFERED = ["24h", "7d", "30d"] as const satisfies readonly RangeName[];
const REFRESH_MS = 30_000;

/** What somebody of a tenant sees first: what is used of what is theirs. */
export function OwnHome({ tenant }: { tenant: NonNullable<Session["tenant"]> }) {
  const { t } = useTranslation(["overview", "common", "keys"]);
  const { range = "24h" } = route.useSearch();
  const navigate = route.useNavigate();
  const may = useMay();
  const version = useVersion();
  const [model] = useModelNames();
  const window = useMemo(() => bounds(range), [range]);
  const usage = api.useQuery(
    "get",
    "/admin/v1/usage",
    { params: { query: { ...window, bucket: "total" } } },
    { refetchInterval: REFRESH_MS, placeholderData: keepPreviousData },
  );
  const keys = api.useQuery("get", "/admin/v1/api-keys", { params: { query: { limit: 1 } } });
  const manages = may("tenants.read");
  return (
    <>
      <PageHeader
        title={tenant.name}
        purpose={manages ? t("own.purpose", { name: tenant.name }) : t("own.memberPurpose")}
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
      {usage.error ? <ErrorState error={usage.error} onRetry={() => void usage.refetch()} /> : null}
      <div className={classes.page}>
        {keys.data?.data.length === 0 ? (
          <EmptyState
            icon={IconKey}
            title={t("keys:empty.title")}
            action={
              <ButtonLink to="/keys/new" leftSection={<IconPlus size={16} />}>
                {t("keys:create")}
              </ButtonLink>
            }
            snippet={<Snippets base={version.data?.api_url ?? undefined} model={model} />}
          >
            {t("keys:empty.ownBody")}
          </EmptyState>
        ) : (
          <>
            {usage.data ? <OwnTiles sum={usage.data.data[0]} range={range} /> : null}
            <UsageCharts range={range} />
          </>
        )}
        {manages ? <OwnBudgets id={tenant.id} /> : null}
      </div>
    </>
  );
}

function OwnTiles({ sum, range }: { sum: UsagePoint | undefined; range: RangeName }) {
  const { t } = useTranslation("overview");
  const locale = useLocale();
  const requests = sum?.requests ?? 0;
  const errors = sum?.errors ?? 0;
  const [input, output] = [sum?.input_tokens ?? 0, sum?.output_tokens ?? 0];
  return (
    <section className={`${classes.tiles} ${classes.four}`} aria-label={t("figures")}>
      <Tile
        label={t("requests")}
        value={compact(requests, locale)}
        title={exact(requests, locale)}
        note={t("failed", { count: errors, number: exact(errors, locale) })}
        range={range}
      />
      <Tile
        label={t("success")}
        value={requests === 0 ? "–" : percent((requests - errors) / requests, locale)}
        note={sum?.mean_duration_ms ? t("own.mean", { value: duration(sum.mean_duration_ms) }) : ""}
        range={range}
      />
      <Tile
        label={t("tokens")}
        value={compact(input + output, locale)}
        title={exact(input + output, locale)}
        note={t("inOut", { input: compact(input, locale), output: compact(output, locale) })}
        range={range}
      />
      <Tile
        label={t("charged")}
        value={sum?.charges.map((charge) => formatMoney(charge, locale)).join(" + ") || "–"}
        title={sum?.charges.map((charge) => exactMoney(charge, locale)).join(" + ") ?? ""}
        note=""
        range={range}
      />
    </section>
  );
}

function OwnBudgets({ id }: { id: string }) {
  const { t } = useTranslation("overview");
  const tenant = api.useQuery("get", "/admin/v1/tenants/{id}", { params: { path: { id } } });
  if (!tenant.data) return null;
  return (
    <section className={classes.panel}>
      <h2 className={classes.panelTitle}>{t("own.budgets")}</h2>
      <Budgets tenant={tenant.data} />
    </section>
  );
}
