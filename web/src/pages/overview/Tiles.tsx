import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { useMay } from "@/api/session";
import type { Overview } from "@/api/types";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney, formatMoney } from "@/lib/money";
import { compact, duration, exact, percent } from "@/lib/numbers";
import type { RangeName } from "@/lib/ranges";
import classes from "./Overview.module.css";

const MICROS = 1_000;

/** The figures somebody on call looks at first; each leads to the requests behind it. */
export function Tiles({ overview, range }: { overview: Overview; range: RangeName }) {
  const { t } = useTranslation("overview");
  const locale = useLocale();
  const may = useMay();
  const { totals, previous, latency } = overview;
  const tokens = totals.input_tokens + totals.output_tokens;
  const ended = totals.requests;

  const change = (now: number, before: number): string => {
    if (before === 0) return t("noBefore");
    const by = (now - before) / before;
    // Beyond tenfold a percentage says nothing; the earlier figure does.
    if (by > 9) return t("before", { amount: compact(before, locale) });
    const text = percent(Math.abs(by), locale, 0);
    return by >= 0 ? t("up", { by: text }) : t("down", { by: text });
  };

  return (
    <section className={classes.tiles} aria-label={t("figures")}>
      <Tile
        label={t("requests")}
        value={compact(ended, locale)}
        title={exact(ended, locale)}
        note={change(ended, previous.requests)}
        range={range}
      />
      <Tile
        label={t("success")}
        value={ended === 0 ? "–" : percent((ended - totals.errors) / ended, locale)}
        note={t("failed", { count: totals.errors, number: exact(totals.errors, locale) })}
        range={range}
      />
      <Tile
        label={t("tokens")}
        value={compact(tokens, locale)}
        title={exact(tokens, locale)}
        note={t("inOut", {
          input: compact(totals.input_tokens, locale),
          output: compact(totals.output_tokens, locale),
        })}
        range={range}
      />
      <Tile
        label={t("firstByte")}
        value={latency ? duration(latency.first_byte_ms_p50) : "–"}
        note={latency ? t("p95", { value: duration(latency.first_byte_ms_p95) }) : ""}
        range={range}
      />
      <Tile
        label={t("overhead")}
        value={latency ? duration(latency.overhead_us_p99 / MICROS) : "–"}
        note={t("overheadHelp")}
        range={range}
      />
      {may("money.read") ? (
        <Tile
          label={t("charged")}
          value={totals.charges.map((sum) => formatMoney(sum, locale)).join(" + ") || "–"}
          title={totals.charges.map((sum) => exactMoney(sum, locale)).join(" + ")}
          note={before(previous.charges[0])}
          range={range}
        />
      ) : (
        <Tile
          label={t("totalTime")}
          value={latency ? duration(latency.duration_ms_p50) : "–"}
          note={latency ? t("p95", { value: duration(latency.duration_ms_p95) }) : ""}
          range={range}
        />
      )}
    </section>
  );

  function before(sum: Overview["totals"]["charges"][number] | undefined): string {
    return sum ? t("before", { amount: formatMoney(sum, locale) }) : t("noBefore");
  }
}

export function Tile({
  label,
  value,
  title,
  note,
  range,
}: {
  label: string;
  value: ReactNode;
  title?: string;
  note: ReactNode;
  range: RangeName;
}) {
  return (
    <Link to="/requests" search={{ range }} className={classes.tile}>
      <div className={classes.label}>{label}</div>
      <div className={classes.value} title={title}>
        {value}
      </div>
      <div className={classes.note}>{note}</div>
    </Link>
  );
}
