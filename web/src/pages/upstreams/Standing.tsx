import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { CredentialStanding, UpstreamHealth } from "@/api/types";
import { Facts } from "@/components/DetailDrawer";
import { CountText, TimeText } from "@/components/Figures";
import { Meaning, type Tone } from "@/components/Meaning";
import { useLocale } from "@/i18n/useLocale";
import { compact, duration } from "@/lib/numbers";
import { exactTime } from "@/lib/time";

const STATES = {
  active: "good",
  cooling: "warning",
  exhausted: "bad",
  auth_failed: "bad",
  retired: "quiet",
} as const satisfies Record<CredentialStanding["state"], Tone>;

const CIRCUITS = {
  closed: "good",
  open: "bad",
  half_open: "warning",
} as const satisfies Record<NonNullable<UpstreamHealth["upstream"]>["circuit"], Tone>;

/** Whether something is held against it that a person could lift. */
export function isHeld(standing: CredentialStanding): boolean {
  return standing.state !== "active" && standing.state !== "retired";
}

export function CredentialState({ standing }: { standing: CredentialStanding }) {
  const { t } = useTranslation("upstreams");
  const locale = useLocale();
  const until = standing.until
    ? ` ${t("standing.until", { time: exactTime(standing.until, locale) })}`
    : "";
  return (
    <Meaning tone={STATES[standing.state]}>
      {t(`standing.states.${standing.state}`)}
      {until}
    </Meaning>
  );
}

/** In flight, latency, what the vendor says is left, spent today. */
export function CredentialFigures({ standing }: { standing: CredentialStanding }) {
  const { t } = useTranslation("upstreams");
  const locale = useLocale();
  const figures = [
    t("standing.inFlight", { count: standing.in_flight }),
    standing.latency_ms === null ? "" : duration(standing.latency_ms),
    standing.requests_left === null
      ? ""
      : t("standing.requestsLeft", { number: compact(standing.requests_left, locale) }),
    standing.tokens_left === null
      ? ""
      : t("standing.tokensLeft", { number: compact(standing.tokens_left, locale) }),
    t("standing.spent", { amount: standing.spent_today }),
  ];
  const trouble = [standing.reason, standing.last_error].filter(Boolean).join(" · ");
  return (
    <>
      <Text fz="xs" c="dimmed">
        {figures.filter(Boolean).join(" · ")}
      </Text>
      {isHeld(standing) && trouble ? (
        <Text fz="xs" c="dimmed">
          {trouble}
        </Text>
      ) : null}
    </>
  );
}

/** How the upstream as a whole does, as the replica that answers sees it. */
export function UpstreamFigures({ health }: { health: UpstreamHealth }) {
  const { t } = useTranslation(["upstreams", "common"]);
  const standing = health.upstream;
  if (!standing) return <Text fz="sm">{t("standing.notInService")}</Text>;
  return (
    <Facts
      rows={[
        [
          t("standing.circuit"),
          <Meaning key="c" tone={CIRCUITS[standing.circuit]}>
            {t(`standing.circuits.${standing.circuit}`)}
          </Meaning>,
        ],
        ...(standing.until
          ? ([[t("standing.triedAgain"), <TimeText key="u" at={standing.until} exactly />]] as [
              string,
              React.ReactNode,
            ][])
          : []),
        [t("standing.now"), <CountText key="n" value={standing.in_flight} whole />],
        [t("standing.latency"), standing.latency_ms === null ? "–" : duration(standing.latency_ms)],
        [t("standing.retries"), <CountText key="r" value={standing.retry_budget_left} whole />],
        ...(standing.last_error
          ? ([[t("standing.lastError"), standing.last_error]] as [string, React.ReactNode][])
          : []),
      ]}
    />
  );
}
