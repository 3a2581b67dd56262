import type { ClassPrices, PriceCreate, PriceVersion } from "@/api/types";
import { USAGE_CLASSES } from "@/components/useClassName";
import { isDecimal, tidyDecimal } from "@/lib/money";

/** The classes every text model needs; the rest are behind a button. */
export const COMMON_CLASSES = [
  "input_uncached",
  "input_cache_read",
  "input_cache_write_5m",
  "input_cache_write_1h",
  "output_text",
  "output_reasoning",
] as const satisfies readonly (keyof ClassPrices)[];

export const OTHER_CLASSES = USAGE_CLASSES.filter(
  (name) => !COMMON_CLASSES.some((common) => common === name),
);

/** A price is whole pico-units per token, hence six decimals per million tokens. */
export const PRICE_DECIMALS = 6;

export interface PriceValues {
  currency: string;
  /** The value of a `datetime-local` input; empty for "at once". */
  valid_from: string;
  prices: Record<keyof ClassPrices, string>;
}

export function emptyPrices(): PriceValues["prices"] {
  return Object.fromEntries(USAGE_CLASSES.map((name) => [name, ""])) as PriceValues["prices"];
}

export function priceValues(from: Pick<PriceVersion, "currency" | "prices"> | null): PriceValues {
  const prices = emptyPrices();
  for (const name of USAGE_CLASSES) {
    const price = from?.prices[name];
    if (price) prices[name] = tidyDecimal(price);
  }
  return { currency: from?.currency ?? "USD", valid_from: "", prices };
}

export function priceBody(values: PriceValues): PriceCreate {
  const prices: ClassPrices = {};
  for (const name of USAGE_CLASSES) {
    const typed = values.prices[name].trim();
    if (typed) prices[name] = typed;
  }
  return {
    currency: values.currency,
    valid_from: values.valid_from ? new Date(values.valid_from).toISOString() : null,
    prices,
  };
}

/** Whether any price is typed at all. */
export function hasPrice(values: PriceValues): boolean {
  return USAGE_CLASSES.some((name) => values.prices[name].trim() !== "");
}

/** One rule for every class: nothing, or a price. */
export function priceRules(message: string) {
  const rule = (value: string) =>
    value.trim() === "" || isDecimal(value, PRICE_DECIMALS) ? null : message;
  return Object.fromEntries(USAGE_CLASSES.map((name) => [name, rule])) as Record<
    keyof ClassPrices,
    (value: string) => string | null
  >;
}
