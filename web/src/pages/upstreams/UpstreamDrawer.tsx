import { IconPencil } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useMay } from "@/api/session";
import type { Upstream } from "@/api/types";
import { DetailDrawer, DrawerSection, Facts } from "@/components/DetailDrawer";
import { DrawerSkeleton } from "@/components/DrawerSkeleton";
import { ErrorState } from "@/components/ErrorState";
import { TimeText } from "@/components/Figures";
import { Id } from "@/components/Id";
import { ButtonLink } from "@/components/links";
import { ManagedNote } from "@/components/ManagedNote";
import { State } from "@/components/State";
import { setting } from "@/lib/numbers";
import { Credentials } from "./Credentials";
import { proxyText } from "./proxies";
import { UpstreamFigures } from "./Standing";
import { UpstreamTest } from "./UpstreamTest";

/** How often the drawer asks how the upstream does; milliseconds. */
const HEALTH_MS = 5_000;

export function UpstreamDrawer({ id, onClose }: { id: string | undefined; onClose: () => void }) {
  const { t } = useTranslation("common");
  const may = useMay();
  const upstream = api.useQuery(
    "get",
    "/admin/v1/upstreams/{id}",
    { params: { path: { id: id ?? "" } } },
    { enabled: id !== undefined },
  );
  const shown = upstream.data;
  return (
    <DetailDrawer
      opened={id !== undefined}
      onClose={onClose}
      title={shown?.name ?? ""}
      subtitle={id ? <Id value={id} full /> : null}
      actions={
        shown?.managed_by === "api" && may("upstreams.write") ? (
          <ButtonLink
            to="/upstreams/$id"
            params={{ id: shown.id }}
            variant="default"
            size="xs"
            leftSection={<IconPencil size={14} />}
          >
            {t("edit")}
          </ButtonLink>
        ) : null
      }
    >
      {upstream.error ? (
        <ErrorState error={upstream.error} onRetry={() => void upstream.refetch()} />
      ) : null}
      {shown ? <Detail upstream={shown} /> : upstream.error ? null : <DrawerSkeleton />}
    </DetailDrawer>
  );
}

function Detail({ upstream }: { upstream: Upstream }) {
  const { t } = useTranslation(["upstreams", "common"]);
  const may = useMay();
  const { timeouts } = upstream;
  const health = api.useQuery(
    "get",
    "/admin/v1/upstreams/{id}/health",
    { params: { path: { id: upstream.id } } },
    { refetchInterval: HEALTH_MS },
  );
  const timeout = (ms: number | null) => (ms === null ? t("timeouts.default") : setting(ms));
  return (
    <>
      <ManagedNote by={upstream.managed_by} />
      {may("upstreams.test") ? (
        <DrawerSection title={t("test.title")}>
          <UpstreamTest key={upstream.id} upstream={upstream} />
        </DrawerSection>
      ) : null}
      <DrawerSection title={t("about")}>
        <Facts
          rows={[
            [t("common:status"), <State key="s" value={upstream.status} />],
            [t("dialect"), t(`common:dialect.${upstream.dialect}`)],
            [
              t("baseUrl"),
              <span key="u" className="tg-mono">
                {upstream.base_url}
              </span>,
            ],
            [t("proxy"), proxyText(upstream.proxy) || t("direct")],
            ...(upstream.no_proxy.length > 0
              ? ([[t("noProxy"), upstream.no_proxy.join(", ")]] as [string, React.ReactNode][])
              : []),
            [t("credentialStrategy"), t(`strategies.${upstream.credential_strategy}`)],
            ...(upstream.local ? ([[t("local"), t("localHelp")]] as [string, string][]) : []),
            [t("common:updated"), <TimeText key="t" at={upstream.updated_at} exactly />],
          ]}
        />
      </DrawerSection>
      {health.data ? (
        <DrawerSection title={t("standing.title")}>
          <UpstreamFigures health={health.data} />
        </DrawerSection>
      ) : null}
      <DrawerSection title={t("credentials")}>
        <Credentials upstream={upstream} standings={health.data?.credentials ?? []} />
      </DrawerSection>
      <DrawerSection title={t("timeouts.title")}>
        <Facts
          rows={[
            [t("timeouts.connect"), timeout(timeouts.connect_ms)],
            [t("timeouts.firstByte"), timeout(timeouts.first_byte_ms)],
            [t("timeouts.firstToken"), timeout(timeouts.first_token_ms)],
            [t("timeouts.idle"), timeout(timeouts.stream_idle_ms)],
            [t("timeouts.total"), timeout(timeouts.total_ms)],
          ]}
        />
      </DrawerSection>
    </>
  );
}
