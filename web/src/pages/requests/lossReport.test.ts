import { expect, it } from "vitest";
import { readLoss } from "./lossReport";

it("reads the loss header into verdicts and fields", () => {
  expect(readLoss("dropped=seed,logit_bias; approximated=top_k")).toEqual([
    { verdict: "dropped", fields: ["seed", "logit_bias"] },
    { verdict: "approximated", fields: ["top_k"] },
  ]);
  expect(readLoss("")).toEqual([]);
});
