import type { TFunction } from "i18next";

const NAME = /^[A-Za-z0-9._\-/:@]{1,128}$/;

export function modelRules(t: TFunction<["models", "common"]>) {
  return {
    name: (name: string) => (NAME.test(name.trim()) ? null : t("nameRule")),
    targets: {
      upstream_id: (value: string) => (value ? null : t("upstreamNeeded")),
      upstream_model: (value: string) => (value.trim() ? null : t("upstreamModelNeeded")),
    },
  };
}
