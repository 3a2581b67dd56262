import { useTranslation } from "react-i18next";
import type { Upstream } from "@/api/types";
import { Meaning } from "@/components/Meaning";

export function hasNoWorkingCredential(upstream: Upstream): boolean {
  return !upstream.credentials.some(({ status }) => status === "active");
}

/** `2 of 3 active`; a warning when none is, since nothing can be sent then. */
export function CredentialCount({ upstream }: { upstream: Upstream }) {
  const { t } = useTranslation("upstreams");
  const total = upstream.credentials.length;
  const active = upstream.credentials.filter(({ status }) => status === "active").length;
  if (active === 0 && upstream.status === "active") {
    return <Meaning tone="warning">{t("noCredential")}</Meaning>;
  }
  return <>{active === total ? total : t("activeOf", { active, total })}</>;
}
