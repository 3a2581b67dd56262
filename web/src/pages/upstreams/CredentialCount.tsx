import { useTranslation } from "react-i18next";
import type { Upstream } from "@/api/types";
import { Meaning } from "@/components/Meaning";

const PRIVATE_HOST =
  /^([a-z0-9-]+|127\..*|10\..*|192\.168\..*|172\.(1[6-9]|2\d|3[01])\..*|\[::1\]|\[f[cd].*)$/;

/** A server of one's own often asks for no key; a provider always does. */
function isLocal(upstream: Upstream): boolean {
  return URL.canParse(upstream.base_url) && PRIVATE_HOST.test(new URL(upstream.base_url).hostname);
}

export function hasNoWorkingCredential(upstream: Upstream): boolean {
  return !isLocal(upstream) && !upstream.credentials.some(({ status }) => status === "active");
}

/** `2 of 3 active`; a warning when none is, since nothing can be sent then. */
export function CredentialCount({ upstream }: { upstream: Upstream }) {
  const { t } = useTranslation("upstreams");
  const total = upstream.credentials.length;
  const active = upstream.credentials.filter(({ status }) => status === "active").length;
  if (total === 0 && isLocal(upstream)) return <>{t("noneNeeded")}</>;
  if (upstream.status === "active" && hasNoWorkingCredential(upstream)) {
    return <Meaning tone="warning">{t("noCredential")}</Meaning>;
  }
  return <>{active === total ? total : t("activeOf", { active, total })}</>;
}
