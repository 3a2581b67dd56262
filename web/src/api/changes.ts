import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "./problem";

/** The header that says which version a change was made from. */
export function ifMatch(version: number): { "If-Match": string } {
  return { "If-Match": `"v${version}"` };
}

/** Whether somebody else changed the resource since it was read. */
export function isStale(error: unknown): boolean {
  return error instanceof ApiError && error.status === 412;
}

type Collection =
  | "tenants"
  | "api-keys"
  | "upstreams"
  | "models"
  | "routes"
  | "requests"
  | "in-flight"
  | "bills"
  | "projects"
  | "budgets"
  | "vouchers"
  | "notifications"
  | "users";

/** Where else a collection is shown. */
const SHOWN_WITH: Partial<Record<Collection, Collection[]>> = {
  budgets: ["tenants"],
  vouchers: ["tenants"],
  projects: ["tenants", "api-keys"],
};

/** After a write: what shows this collection asks again, and the person is told it worked. */
export function useChanged(collection: Collection) {
  const cache = useQueryClient();
  const { t } = useTranslation();
  return useCallback(
    (message: string = t("saved")) => {
      const touched = [
        ...[collection, ...(SHOWN_WITH[collection] ?? [])].map((name) => `/admin/v1/${name}`),
        "/admin/v1/overview",
        "/admin/v1/audit-events",
      ];
      void cache.invalidateQueries({
        predicate: ({ queryKey: [, path] }) =>
          typeof path === "string" && touched.some((prefix) => path.startsWith(prefix)),
      });
      notifications.show({ message, color: "accent", autoClose: 3_000 });
    },
    [cache, collection, t],
  );
}
