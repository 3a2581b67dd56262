import { useMemo } from "react";
import { useLocale } from "@/i18n/useLocale";
import { exact } from "@/lib/numbers";
import type { ChartBucket } from "../rows";

/** The prefixes of the rest of the dashboard, for those English writes otherwise. */
const UNITS: Record<string, string> = { K: "k", B: "G" };

export const CHART_HEIGHT = 220;

/** How instants and counts are written on the axes and in the hover. */
export function useAxes(bucket: ChartBucket) {
  const locale = useLocale();
  return useMemo(() => {
    const tick = new Intl.DateTimeFormat(
      locale,
      bucket === "hour"
        ? { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }
        : { month: "short", day: "numeric" },
    );
    const whole = new Intl.DateTimeFormat(
      locale,
      bucket === "hour"
        ? { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }
        : { year: "numeric", month: "short", day: "numeric" },
    );
    // Ticks are round numbers: up to two decimals, and none that are zero.
    const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
    return {
      tick: (start: string) => tick.format(new Date(start)),
      label: (start: unknown) =>
        typeof start === "string" ? whole.format(new Date(start)) : String(start ?? ""),
      short: (value: number) =>
        short.format(value).replace(/[KMBT]$/, (unit) => `\u00a0${UNITS[unit] ?? unit}`),
      exact: (value: number) => exact(value, locale),
    };
  }, [locale, bucket]);
}

/** Recharts names the bucket under the pointer; a click leads to the requests behind it. */
export function openAt(onOpen: (start: string) => void) {
  return (state: { activeLabel?: string | number | undefined }) => {
    if (typeof state.activeLabel === "string") onOpen(state.activeLabel);
  };
}
