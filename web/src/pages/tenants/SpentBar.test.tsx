import { cleanup, render } from "@testing-library/react";
import { afterEach, beforeAll, expect, it } from "vitest";
import { startI18n } from "@/i18n";
import { SpentBar } from "./SpentBar";

beforeAll(() => startI18n("en"));
afterEach(cleanup);

it("says how much is spent, and never that all is while something is left", () => {
  const words = (spent: string, amount = "100") =>
    render(<SpentBar of={{ amount, currency: "USD" }} spent={spent} />).container.textContent;
  expect(words("0")).toBe("0% of $100.00");
  expect(words("0.29", "1")).toBe("29% of $1.00");
  expect(words("80")).toBe("80% of $100.00, near");
  expect(words("99.999")).toBe("99% of $100.00, near");
  expect(words("100")).toBe("Used up: $100.00");
  expect(words("250.01")).toBe("Used up: $100.00");
});
