import type { AvailableModel, ClassPrices, PriceVersion } from "@/api/types";
import { Absent } from "@/components/Figures";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney } from "@/lib/money";

/** A price per million tokens, never rounded: a price is what it says. */
export function PriceText({
  price,
  name,
}: {
  price: PriceVersion | AvailableModel["price"] | null;
  name: keyof ClassPrices;
}) {
  const locale = useLocale();
  const amount = price?.prices[name];
  if (!price || !amount) return <Absent />;
  return (
    <span className="tg-nowrap">{exactMoney({ amount, currency: price.currency }, locale)}</span>
  );
}
