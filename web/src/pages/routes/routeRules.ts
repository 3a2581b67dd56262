import type { TFunction } from "i18next";
import { headerPair } from "./routeForm";

export function routeRules(t: TFunction<["routes", "common"]>) {
  return {
    name: (name: string) => (name.trim() ? null : t("common:nameNeeded")),
    headers: (headers: string[]) => (headers.every(headerPair) ? null : t("match.headersRule")),
    targets: {
      upstream_id: (value: string) => (value ? null : t("upstreamNeeded")),
      upstream_model: (value: string) => (value.trim() ? null : t("upstreamModelNeeded")),
    },
  };
}
