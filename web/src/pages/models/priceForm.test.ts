import { describe, expect, it } from "vitest";
import { hasPrice, priceBody, priceRules, priceValues } from "./priceForm";

describe("the price form", () => {
  it("sends only the classes that are priced, as they were typed", () => {
    const values = priceValues(null);
    values.prices.input_uncached = " 3.00 ";
    values.prices.output_text = "15";
    expect(priceBody(values)).toEqual({
      currency: "USD",
      valid_from: null,
      prices: { input_uncached: "3.00", output_text: "15" },
    });
  });

  it("starts from the price in force", () => {
    const values = priceValues({ currency: "CNY", prices: { input_uncached: "3" } });
    expect(values.currency).toBe("CNY");
    expect(values.prices.input_uncached).toBe("3.00");
    expect(values.prices.output_text).toBe("");
    expect(hasPrice(values)).toBe(true);
    expect(hasPrice(priceValues(null))).toBe(false);
  });

  it("takes six decimals and no more", () => {
    const rule = priceRules("no").input_uncached;
    expect(rule("0.000001")).toBeNull();
    expect(rule("0.0000001")).toBe("no");
    expect(rule("")).toBeNull();
    expect(rule("3,00")).toBe("no");
  });
});
