import { Skeleton } from "@mantine/core";
import { IconChevronLeft } from "@tabler/icons-react";
import { getRouteApi } from "@tanstack/react-router";
import { Fragment } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import type { Bill } from "@/api/types";
import { ErrorState } from "@/components/ErrorState";
import { AnchorLink } from "@/components/links";
import { Note } from "@/components/Meaning";
import { PageHeader } from "@/components/PageHeader";
import { useLocale } from "@/i18n/useLocale";
import { exact } from "@/lib/numbers";
import { exactTime, month } from "@/lib/time";
import classes from "./Bill.module.css";
import { BillDownloads } from "./BillDownloads";
import { BillLines } from "./BillLines";
import { BillSums } from "./BillSums";

const route = getRouteApi("/app/bills/$tenant/$period");

export function BillPage() {
  const { t } = useTranslation("bills");
  const locale = useLocale();
  const { tenant, period } = route.useParams();
  const bill = api.useQuery("get", "/admin/v1/bills/{tenant_id}/{period}", {
    params: { path: { tenant_id: tenant, period } },
  });
  return (
    <>
      <PageHeader
        title={
          bill.data
            ? t("billTitle", { tenant: bill.data.tenant, month: month(period, locale) })
            : month(period, locale)
        }
        purpose={t("billPurpose")}
        action={bill.data ? <BillDownloads bill={bill.data} /> : null}
        above={
          <AnchorLink to="/bills" search={{ period }} className={classes.back}>
            <IconChevronLeft size={14} aria-hidden />
            {t("title")}
          </AnchorLink>
        }
      />
      {bill.error ? <ErrorState error={bill.error} onRetry={() => void bill.refetch()} /> : null}
      {bill.data ? <Content bill={bill.data} /> : bill.error ? null : <Skeleton height={360} />}
    </>
  );
}

function Content({ bill }: { bill: Bill }) {
  const { t } = useTranslation("bills");
  const locale = useLocale();
  return (
    <div className={classes.bill}>
      <Note tone="info" title={t("status.draft")}>
        {t(bill.is_complete ? "complete" : "draftHelp")}
      </Note>
      <dl className={classes.facts}>
        <div>
          <dt>{t("from")}</dt>
          <dd>{exactTime(bill.from, locale)}</dd>
        </div>
        <div>
          <dt>{t("to")}</dt>
          <dd>{exactTime(bill.to, locale)}</dd>
        </div>
        <div>
          <dt>{t("timeZone")}</dt>
          <dd>{bill.time_zone}</dd>
        </div>
        <div>
          <dt>{t("requests")}</dt>
          <dd>{exact(bill.requests, locale)}</dd>
        </div>
      </dl>
      {bill.sections.length === 0 ? <Note tone="quiet">{t("noLines")}</Note> : null}
      {bill.sections.map((section) => (
        <Fragment key={section.currency}>
          <BillLines lines={section.lines} />
          <BillSums section={section} />
        </Fragment>
      ))}
      {bill.not_charged.requests > 0 ? (
        <Note tone="quiet" title={t("notCharged")}>
          {t("notChargedHelp", {
            count: bill.not_charged.requests,
            number: exact(bill.not_charged.requests, locale),
          })}
        </Note>
      ) : null}
    </div>
  );
}
