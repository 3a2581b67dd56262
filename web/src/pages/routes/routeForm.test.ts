import { expect, test } from "vitest";
import { headerPair, newArm, routeBody, routeValues } from "./routeForm";

test("a header is a name in lower case and a value", () => {
  expect(headerPair("X-Team: search*")).toEqual(["x-team", "search*"]);
  expect(headerPair("x-url: http://h")).toEqual(["x-url", "http://h"]);
  for (const wrong of ["alone", ": value", "a b: c", "x-a:"])
    expect(headerPair(wrong)).toBeUndefined();
});

test("what is left alone is sent as no condition, and arms go with the split", () => {
  const values = routeValues();
  const target = { ...values.targets[0], upstream_id: "ups_1", upstream_model: " m ", arm: "a" };
  const plain = routeBody({
    ...values,
    name: " r ",
    targets: [target as (typeof values.targets)[0]],
  });
  expect(plain.name).toBe("r");
  expect(plain.position).toBeNull();
  expect(plain.match).toEqual({
    models: [],
    tenants: [],
    projects: [],
    tags: [],
    headers: {},
    min_input_tokens: null,
    max_input_tokens: null,
  });
  expect(plain.routing).toEqual({
    strategy: "weighted",
    affinity: "auto",
    split: null,
    hedge: null,
  });
  expect(plain.targets[0]).toMatchObject({ upstream_model: "m", arm: null });

  const split = routeBody({
    ...values,
    split: true,
    splitBy: "header",
    splitHeader: "X-Cohort",
    arms: [newArm("a", 9), newArm("b", "")],
    headers: ["X-Team: search"],
    targets: [target as (typeof values.targets)[0]],
  });
  expect(split.routing?.split).toEqual({
    by: "header:x-cohort",
    arms: [
      { name: "a", weight: 9 },
      { name: "b", weight: 0 },
    ],
  });
  expect(split.match?.headers).toEqual({ "x-team": "search" });
  expect(split.targets[0]?.arm).toBe("a");
});
