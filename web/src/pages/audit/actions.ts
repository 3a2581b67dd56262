import { useCallback } from "react";
import { useTranslation } from "react-i18next";

export const KINDS = [
  "tenant",
  "project",
  "budget",
  "api_key",
  "upstream",
  "credential",
  "model",
  "route",
  "request",
  "price",
  "user",
  "session",
  "admin_token",
] as const;

/** What the trail of a tenant is about. */
export const KINDS_OF_TENANTS = [
  "tenant",
  "project",
  "budget",
  "api_key",
  "user",
  "session",
] as const satisfies readonly (typeof KINDS)[number][];

/** What to call whoever has no name here; to a tenant, all staff is the operator. */
export function useActorWords(): (kind: string) => string {
  const { t } = useTranslation("audit");
  return useCallback((kind) => (kind === "operator" ? t("operator") : kind), [t]);
}

/** Events of the configuration file name the deed, those of the API what became of it. */
const DEEDS = {
  create: "created",
  created: "created",
  update: "updated",
  updated: "updated",
  delete: "deleted",
  deleted: "deleted",
  revoke: "revoked",
  revoked: "revoked",
  tested: "tested",
  rotated: "rotated",
  reactivated: "reactivated",
  cancelled: "cancelled",
} as const;

const SESSION = ["session_created", "session_ended", "session_reuse_detected"] as const;

/** `tenant.updated` in words; an action this page does not know is shown as the server says it. */
export function useActionWords(): (action: string) => string {
  const { t } = useTranslation("audit");
  return useCallback(
    (action) => {
      const session = SESSION.find((candidate) => candidate === action.replace(".", "_"));
      if (session) return t(`session.${session}`);
      const [kind = "", deed = ""] = action.split(".");
      const knownKind = KINDS.find((candidate) => candidate === kind);
      const knownDeed = DEEDS[deed as keyof typeof DEEDS];
      if (!knownKind || !knownDeed) return action;
      return t(`deed.${knownDeed}`, { kind: t(`kind.${knownKind}`) });
    },
    [t],
  );
}
