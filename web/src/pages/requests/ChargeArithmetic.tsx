import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { RequestDetail } from "@/api/types";
import { MiniTable } from "@/components/MiniTable";
import { useClassName } from "@/components/useClassName";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney } from "@/lib/money";
import { exact } from "@/lib/numbers";

/** Tokens × price = amount, line by line, to the last digit: why this call costs what it costs. */
export function ChargeArithmetic({ request }: { request: RequestDetail }) {
  const { t } = useTranslation(["requests", "common"]);
  const locale = useLocale();
  const className = useClassName();
  const { charge, charge_lines, reserved } = request;
  if (!charge || charge_lines.length === 0) {
    return (
      <Text fz="sm" c="dimmed">
        {t("noCharge")}
      </Text>
    );
  }
  return (
    <>
      <MiniTable
        label={t("charge")}
        head={[t("class"), t("tokens"), t("perMillion"), t("amount")]}
        rows={charge_lines.map((line) => ({
          key: line.class,
          cells: [
            line.priced_as === line.class
              ? className(line.class)
              : t("pricedAs", { class: className(line.class), other: className(line.priced_as) }),
            exact(line.tokens, locale),
            `× ${exactMoney({ amount: line.price_per_million, currency: charge.currency }, locale)}`,
            exactMoney(line.amount, locale),
          ],
        }))}
        foot={[[t("total"), "", "", exactMoney(charge, locale)]]}
      />
      {reserved ? (
        <Text fz="xs" c="dimmed" mt="xs">
          {t("reserved", { amount: exactMoney(reserved, locale) })}
        </Text>
      ) : null}
    </>
  );
}
