/** Money as the API says it: a decimal string in major units. It is never made a float here. */
export interface Money {
  amount: string;
  currency: string;
}

const DECIMAL = /^-?\d+(\.\d+)?$/;
const TRUE_MINUS = "−";
/** A charge is an exact count of pico-units, so this many decimals show all of it. */
export const PICO_DECIMALS = 12;

const formats = new Map<string, Intl.NumberFormat>();

function formatter(locale: string, currency: string, min: number, max: number): Intl.NumberFormat {
  const id = `${locale}|${currency}|${min}|${max}`;
  let format = formats.get(id);
  if (!format) {
    format = new Intl.NumberFormat(locale, {
      style: "currency",
      currency,
      currencyDisplay: "narrowSymbol",
      minimumFractionDigits: min,
      maximumFractionDigits: max,
    });
    formats.set(id, format);
  }
  return format;
}

function render(money: Money, locale: string, min: number, max: number): string {
  if (!DECIMAL.test(money.amount)) return `${money.amount} ${money.currency}`;
  // `format` reads a decimal string exactly; it does not go through a double.
  const text = formatter(locale, money.currency, min, max).format(
    money.amount as Intl.StringNumericLiteral,
  );
  return text.replace("-", TRUE_MINUS);
}

/** Rounded for reading; 2 decimals unless the column needs more. */
export function formatMoney(money: Money, locale: string, decimals = 2): string {
  return render(money, locale, decimals, decimals);
}

/** Every digit there is, for the hover and the arithmetic. */
export function exactMoney(money: Money, locale: string): string {
  return render(money, locale, 2, PICO_DECIMALS);
}

/** A decimal typed by a person: digits with at most `places` decimals, no sign. */
export function isDecimal(text: string, places = PICO_DECIMALS): boolean {
  const match = /^\d{1,15}(?:\.(\d+))?$/.exec(text.trim());
  return match !== null && (match[1]?.length ?? 0) <= places;
}

/** `3.00` for `3`, and no trailing zero past the second: how a price is written by hand. */
export function tidyDecimal(text: string): string {
  const [whole = "0", fraction = ""] = text.split(".");
  return `${whole}.${fraction.replace(/0+$/, "").padEnd(2, "0")}`;
}

function scaled(text: string, places: number): bigint {
  const negative = text.startsWith("-");
  const [whole = "0", fraction = ""] = text.replace("-", "").split(".");
  const value = BigInt(whole + fraction.padEnd(places, "0").slice(0, places));
  return negative ? -value : value;
}

/** Exact comparison and proportion of two decimals, as a share in 0..1 for a bar's width only. */
export function share(part: string, whole: string): number {
  const of = scaled(whole, PICO_DECIMALS);
  if (of <= 0n) return 0;
  const permille = (scaled(part, PICO_DECIMALS) * 1000n) / of;
  return Math.min(1, Math.max(0, Number(permille) / 1000));
}

/** True for 0, 0.00 and the like. */
export function isZero(text: string): boolean {
  return scaled(text, PICO_DECIMALS) === 0n;
}

/** Exact sums by currency, in the order the currencies first appear. */
export function sumMoney(amounts: readonly Money[]): Money[] {
  const sums = new Map<string, bigint>();
  for (const { amount, currency } of amounts) {
    sums.set(currency, (sums.get(currency) ?? 0n) + pico(amount));
  }
  return [...sums].map(([currency, sum]) => {
    const digits = (sum < 0n ? -sum : sum).toString().padStart(PICO_DECIMALS + 1, "0");
    const whole = digits.slice(0, -PICO_DECIMALS);
    const fraction = digits.slice(-PICO_DECIMALS).replace(/0+$/, "");
    const amount = `${sum < 0n ? "-" : ""}${whole}${fraction ? `.${fraction}` : ""}`;
    return { amount, currency };
  });
}

function pico(amount: string): bigint {
  if (!DECIMAL.test(amount)) return 0n;
  const [whole = "0", fraction = ""] = amount.replace("-", "").split(".");
  const sum = BigInt(whole + fraction.slice(0, PICO_DECIMALS).padEnd(PICO_DECIMALS, "0"));
  return amount.startsWith("-") ? -sum : sum;
}
