import type { Route, RouteCreate } from "@/api/types";
import {
  newTarget,
  type TargetValues,
  targetBody,
  targetValues,
} from "@/pages/models/TargetFields";

export const STRATEGIES = [
  "weighted",
  "round_robin",
  "least_in_flight",
  "latency",
  "cost",
] as const;
export const SPLIT_BY = ["user", "key", "tenant", "conversation", "header"] as const;

export interface ArmValues {
  key: string;
  name: string;
  weight: number | "";
}

export interface RouteValues {
  name: string;
  position: number | "";
  models: string[];
  tenants: string[];
  projects: string[];
  tags: string[];
  /** `name: value`, one an entry. */
  headers: string[];
  minTokens: number | "";
  maxTokens: number | "";
  strategy: (typeof STRATEGIES)[number];
  affinity: boolean;
  split: boolean;
  splitBy: (typeof SPLIT_BY)[number];
  splitHeader: string;
  arms: ArmValues[];
  hedge: boolean;
  hedgeAfter: number | "";
  hedgePercent: number | "";
  hedgeSpend: string;
  targets: TargetValues[];
}

let arms = 0;
export function newArm(name = "", weight: number | "" = 1): ArmValues {
  arms += 1;
  return { key: `arm-${arms}`, name, weight };
}

export function routeValues(route?: Route): RouteValues {
  const split = route?.routing.split ?? null;
  const hedge = route?.routing.hedge ?? null;
  const by = split?.by ?? "user";
  const [kind, header] = by.startsWith("header:") ? ["header", by.slice(7)] : [by, ""];
  return {
    name: route?.name ?? "",
    position: route?.position ?? "",
    models: route?.match.models ?? [],
    tenants: route?.match.tenants ?? [],
    projects: route?.match.projects ?? [],
    tags: route?.match.tags ?? [],
    headers: Object.entries(route?.match.headers ?? {}).map(([name, value]) => `${name}: ${value}`),
    minTokens: route?.match.min_input_tokens ?? "",
    maxTokens: route?.match.max_input_tokens ?? "",
    strategy: route?.routing.strategy ?? "weighted",
    affinity: route?.routing.affinity !== "off",
    split: split !== null,
    splitBy: SPLIT_BY.find((known) => known === kind) ?? "user",
    splitHeader: header ?? "",
    arms: split
      ? split.arms.map(({ name, weight }) => newArm(name, weight))
      : [newArm("a", 9), newArm("b", 1)],
    hedge: hedge !== null,
    hedgeAfter: hedge?.after_ms ?? 2_000,
    hedgePercent: hedge?.max_percent ?? 5,
    hedgeSpend: hedge?.daily_spend ?? "",
    targets: route ? targetValues(route.targets) : [newTarget()],
  };
}

/** `x-team: search` as name and value; nothing for what is neither. */
export function headerPair(text: string): [string, string] | undefined {
  const at = text.indexOf(":");
  const [name, value] = [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1).trim()];
  return at > 0 && /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && value ? [name, value] : undefined;
}

const number = (value: number | "") => (value === "" ? null : value);

export function routeBody(values: RouteValues): RouteCreate {
  const header = values.splitHeader.trim().toLowerCase();
  return {
    name: values.name.trim(),
    position: number(values.position),
    match: {
      models: values.models,
      tenants: values.tenants,
      projects: values.projects,
      tags: values.tags,
      headers: Object.fromEntries(
        values.headers
          .flatMap((text) => [headerPair(text) ?? []])
          .filter((pair) => pair.length === 2),
      ),
      min_input_tokens: number(values.minTokens),
      max_input_tokens: number(values.maxTokens),
    },
    routing: {
      strategy: values.strategy,
      affinity: values.affinity ? "auto" : "off",
      split: values.split
        ? {
            by: values.splitBy === "header" ? `header:${header}` : values.splitBy,
            arms: values.arms.map(({ name, weight }) => ({
              name: name.trim(),
              weight: weight || 0,
            })),
          }
        : null,
      hedge: values.hedge
        ? {
            after_ms: values.hedgeAfter || 1,
            max_percent: values.hedgePercent || 1,
            daily_spend: values.hedgeSpend.trim() || null,
          }
        : null,
    },
    targets: targetBody(
      values.split ? values.targets : values.targets.map((target) => ({ ...target, arm: null })),
    ),
  };
}
