import { describe, expect, it } from "vitest";
import { exactMoney, formatMoney, isDecimal, isZero, share, sumMoney, tidyDecimal } from "./money";

const usd = (amount: string) => ({ amount, currency: "USD" });

describe("money", () => {
  it("adds up exactly, by currency, also below zero", () => {
    const eur = { amount: "-0.5", currency: "EUR" };
    expect(sumMoney([usd("0.1"), eur, usd("0.200000000001"), usd("-1")])).toEqual([
      usd("-0.699999999999"),
      eur,
    ]);
    expect(sumMoney([])).toEqual([]);
  });

  it("rounds for reading and keeps every digit on demand", () => {
    expect(formatMoney(usd("12.3456"), "en")).toBe("$12.35");
    expect(exactMoney(usd("12.345600000001"), "en")).toBe("$12.345600000001");
    expect(formatMoney(usd("0.00001234"), "en", 6)).toBe("$0.000012");
  });

  it("never passes through a double", () => {
    expect(exactMoney(usd("9007199254740993.000000000001"), "en")).toBe(
      "$9,007,199,254,740,993.000000000001",
    );
  });

  it("writes a true minus", () => {
    expect(formatMoney(usd("-3.5"), "en")).toBe("−$3.50");
  });

  it("shows what it cannot read instead of guessing", () => {
    expect(formatMoney(usd("n/a"), "en")).toBe("n/a USD");
  });

  it("accepts a typed price and refuses anything else", () => {
    expect(isDecimal("3")).toBe(true);
    expect(isDecimal("0.075")).toBe(true);
    expect(isDecimal("-1")).toBe(false);
    expect(isDecimal("1e3")).toBe(false);
    expect(isDecimal("0.0000000000001")).toBe(false);
  });

  it("tidies, compares and measures", () => {
    expect(tidyDecimal("3")).toBe("3.00");
    expect(tidyDecimal("0.0750")).toBe("0.075");
    expect(isZero("0.000")).toBe(true);
    expect(share("25.00", "100.00")).toBe(0.25);
    expect(share("250", "100")).toBe(1);
    expect(share("1", "0")).toBe(0);
  });
});
