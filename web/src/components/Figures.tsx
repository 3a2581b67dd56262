import { Text } from "@mantine/core";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney, formatMoney, type Money } from "@/lib/money";
import { compact, exact } from "@/lib/numbers";
import { exactTime, relative } from "@/lib/time";

const ABSENT = "–";

/** Money to the cent (or to the column's precision), every digit on hover. */
export function MoneyText({ money, decimals = 2 }: { money?: Money | null; decimals?: number }) {
  const locale = useLocale();
  if (!money) return <Absent />;
  return (
    <span className="tg-nowrap" title={exactMoney(money, locale)}>
      {formatMoney(money, locale, decimals)}
    </span>
  );
}

/** A count as `12.4 k`, the exact figure on hover. */
export function CountText({
  value,
  whole = false,
}: {
  value?: number | null;
  /** Limits and other figures a person typed are shown as typed. */
  whole?: boolean;
}) {
  const locale = useLocale();
  if (value === null || value === undefined) return <Absent />;
  return (
    <span className="tg-nowrap" title={exact(value, locale)}>
      {whole ? exact(value, locale) : compact(value, locale)}
    </span>
  );
}

/** A time as `3 min. ago`, the exact one on hover. */
export function TimeText({ at, exactly = false }: { at?: string | null; exactly?: boolean }) {
  const locale = useLocale();
  if (!at) return <Absent />;
  const whole = exactTime(at, locale);
  return (
    <time className="tg-nowrap" dateTime={at} title={whole}>
      {exactly ? whole : relative(at, locale)}
    </time>
  );
}

export function Absent() {
  return (
    <Text span c="dimmed" inherit>
      {ABSENT}
    </Text>
  );
}
