import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { RequestDetail } from "@/api/types";
import { Note } from "@/components/Meaning";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney } from "@/lib/money";
import { exact } from "@/lib/numbers";
import { oneOf } from "@/lib/search";
import { exactTime } from "@/lib/time";

const SCOPES = ["tenant", "project", "key", "model", "end_user"] as const;
const RATES = ["requests", "tokens", "concurrency"] as const;
const PERIODS = ["day", "month", "total", "balance"] as const;

/** Why a request was refused, in a sentence: whose limit it ran into, when, and from when on there is room again. */
export function RefusedBy({ request }: { request: RequestDetail }) {
  const { t } = useTranslation(["requests", "common"]);
  const locale = useLocale();
  const by = request.refused_by;
  if (!by) return null;
  const at = exactTime(request.finished_at, locale);
  const scope = oneOf(by.scope ?? undefined, SCOPES);
  const rate = oneOf(by.dimension ?? undefined, RATES);
  const whose = scope
    ? t(`refused.${by.subject ? "named" : "scope"}.${scope}`, { name: by.subject ?? "" })
    : "";
  const number = (text: string | null) => (text ? exact(Number(text), locale) : "–");
  const money = (amount: string) => exactMoney({ amount, currency: by.currency ?? "" }, locale);
  const sentence = () => {
    if (!whose) return by.message || by.code;
    if (rate)
      return t(`refused.rate.${rate}`, {
        whose,
        at,
        limit: number(by.limit),
        used: number(by.used),
      });
    const budget = t(`refused.budget.${oneOf(by.period ?? undefined, PERIODS) ?? "total"}`);
    if (!by.currency || !by.limit || !by.used)
      return t("refused.spentSomehow", { whose, at, budget });
    return t("refused.spent", { whose, at, budget, limit: money(by.limit), used: money(by.used) });
  };
  return (
    <Note tone="warning" title={sentence()}>
      {by.resets_at ? (
        <Text fz="sm">{t("refused.resets", { at: exactTime(by.resets_at, locale) })}</Text>
      ) : null}
      {by.more > 0 ? <Text fz="sm">{t("refused.more", { count: by.more })}</Text> : null}
      {whose && by.message ? (
        <Text fz="sm" c="dimmed">
          {t("refused.told", { message: by.message })}
        </Text>
      ) : null}
    </Note>
  );
}
