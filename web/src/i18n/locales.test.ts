import { describe, expect, it } from "vitest";
import en from "./en";
import zh from "./zh-CN";

type Tree = { [key: string]: string | Tree };

/** Every path to a string; plural endings differ between languages and are cut off. */
function paths(tree: Tree, prefix = ""): string[] {
  return Object.entries(tree).flatMap(([key, value]) =>
    typeof value === "string"
      ? [`${prefix}${key.replace(/_(one|other)$/, "")}`]
      : paths(value, `${prefix}${key}.`),
  );
}

function strings(tree: Tree): string[] {
  return Object.values(tree).flatMap((value) =>
    typeof value === "string" ? [value] : strings(value),
  );
}

/** The `{{names}}` a text fills in, by path. */
function variables(tree: Tree, prefix = ""): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of Object.entries(tree)) {
    const path = `${prefix}${key.replace(/_(one|other)$/, "")}`;
    if (typeof value === "string") {
      const names = [...value.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1]).sort();
      found.set(path, [...new Set(names)].join(","));
    } else {
      for (const [inner, names] of variables(value, `${path}.`)) found.set(inner, names);
    }
  }
  return found;
}

describe("message files", () => {
  it("have exactly the same keys in both languages", () => {
    expect([...new Set(paths(zh))].sort()).toEqual([...new Set(paths(en))].sort());
  });

  it("fill in the same names", () => {
    expect(variables(zh)).toEqual(variables(en));
  });

  it("hold no empty text and no exclamation", () => {
    for (const text of [...strings(en), ...strings(zh)]) {
      expect(text.trim()).not.toBe("");
      expect(text).not.toMatch(/[!！]/);
    }
  });
});
