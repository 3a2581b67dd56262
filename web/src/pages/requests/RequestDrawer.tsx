import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useMay, useOwnTenant } from "@/api/session";
import type { RequestDetail } from "@/api/types";
import { CodeBlock } from "@/components/CodeBlock";
import { DetailDrawer, DrawerSection, Facts } from "@/components/DetailDrawer";
import { DrawerSkeleton } from "@/components/DrawerSkeleton";
import { ErrorState } from "@/components/ErrorState";
import { MoneyText, TimeText } from "@/components/Figures";
import { Id } from "@/components/Id";
import { AnchorLink } from "@/components/links";
import { duration } from "@/lib/numbers";
import { prettyJson } from "@/lib/words";
import { Attempts } from "./Attempts";
import { ChargeArithmetic } from "./ChargeArithmetic";
import { LossReport } from "./LossReport";
import { OutcomeText } from "./OutcomeText";
import { RefusedBy } from "./RefusedBy";
import { UsageTable } from "./UsageTable";

export function RequestDrawer({ id, onClose }: { id: string | undefined; onClose: () => void }) {
  const { t } = useTranslation(["requests", "common"]);
  const request = api.useQuery(
    "get",
    "/admin/v1/requests/{id}",
    { params: { path: { id: id ?? "" } } },
    { enabled: id !== undefined },
  );
  return (
    <DetailDrawer
      opened={id !== undefined}
      onClose={onClose}
      title={t("one")}
      subtitle={id ? <Id value={id} full /> : null}
    >
      {request.error ? (
        <ErrorState error={request.error} onRetry={() => void request.refetch()} />
      ) : null}
      {request.data ? <Detail request={request.data} /> : request.error ? null : <DrawerSkeleton />}
    </DetailDrawer>
  );
}

const MICROS = 1_000;

function Detail({ request }: { request: RequestDetail }) {
  const { t } = useTranslation(["requests", "common"]);
  const may = useMay();
  const staff = useOwnTenant() === null;
  const models = [request.model, request.upstream_model, request.returned_model];
  return (
    <>
      <RefusedBy request={request} />
      <DrawerSection title={t("about")}>
        <Facts
          rows={[
            [
              t("common:status"),
              <OutcomeText key="o" outcome={request.outcome} status={request.status} />,
            ],
            ...(request.error_code
              ? ([[t("errorCode"), <code key="e">{request.error_code}</code>]] as [
                  string,
                  React.ReactNode,
                ][])
              : []),
            [t("accepted"), <TimeText key="t" at={request.accepted_at} exactly />],
            ...(staff
              ? ([
                  [
                    t("tenant"),
                    <AnchorLink
                      key="ten"
                      fz="sm"
                      to="/tenants"
                      search={{ open: request.tenant_id }}
                    >
                      {request.tenant ?? request.tenant_id}
                    </AnchorLink>,
                  ],
                ] as [string, React.ReactNode][])
              : []),
            [
              t("key"),
              <AnchorLink key="key" fz="sm" to="/keys" search={{ open: request.key_id }}>
                {request.key ?? request.key_id}
              </AnchorLink>,
            ],
            [t("endUser"), request.end_user ?? "–"],
            [t("modelPath"), models.filter(Boolean).join(" → ")],
            [
              t("dialects"),
              [request.client_dialect, request.upstream_dialect]
                .filter((dialect) => dialect !== null && dialect !== undefined)
                .map((dialect) => t(`common:dialect.${dialect}`))
                .join(" → "),
            ],
            [t("stream"), request.stream ? t("yes") : t("no")],
            [t("finish"), request.finish_reason ?? "–"],
          ]}
        />
      </DrawerSection>
      <DrawerSection title={t("timing")}>
        <Facts
          rows={[
            [
              t("firstByte"),
              request.first_byte_ms === null ? "–" : duration(request.first_byte_ms),
            ],
            [t("duration"), duration(request.duration_ms)],
            [t("overhead"), duration(request.overhead_us / MICROS)],
          ]}
        />
      </DrawerSection>
      {staff ? (
        <DrawerSection title={t("routing.title")}>
          <Facts
            rows={[
              [t("routing.route"), request.route ?? t("routing.own")],
              [t("routing.arm"), request.arm ?? "–"],
              [t("routing.affinity"), request.affinity ?? "–"],
              ...(may("money.read")
                ? ([[t("routing.saved"), <MoneyText key="s" money={request.cache_saved} />]] as [
                    string,
                    React.ReactNode,
                  ][])
                : []),
            ]}
          />
        </DrawerSection>
      ) : null}
      {staff ? (
        <DrawerSection title={t("attemptsTitle")}>
          <Attempts attempts={request.attempts_detail} />
        </DrawerSection>
      ) : null}
      <DrawerSection title={t("usage")}>
        <UsageTable
          usage={request.usage}
          source={request.usage_source}
          estimator={request.estimator}
        />
      </DrawerSection>
      {may("money.read") ? (
        <DrawerSection title={t("charge")}>
          <ChargeArithmetic request={request} />
        </DrawerSection>
      ) : null}
      <DrawerSection title={t("loss.title")}>
        <LossReport loss={request.loss} />
      </DrawerSection>
      {request.raw_usage ? (
        <DrawerSection title={t("rawUsage")}>
          <CodeBlock code={prettyJson(request.raw_usage)} wrap />
        </DrawerSection>
      ) : null}
      <DrawerSection title={t("ids")}>
        <Facts
          rows={[
            [t("upstreamRequest"), <IdOrNone key="u" value={request.upstream_request_id} />],
            [t("credential"), <IdOrNone key="c" value={request.credential_id} />],
            [t("priceVersion"), <IdOrNone key="p" value={request.price_version_id} />],
            [t("trace"), <IdOrNone key="t" value={request.trace_id} />],
          ]}
        />
      </DrawerSection>
    </>
  );
}

function IdOrNone({ value }: { value: string | null }) {
  return value ? <Id value={value} full /> : <>–</>;
}
