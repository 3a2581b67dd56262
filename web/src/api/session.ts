import { useQueryClient, useSuspenseQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useCallback } from "react";
import { api, client } from "./client";
import { queryClient } from "./queryClient";
import type { Permission, Session } from "./types";

const SESSION_FRESH_MS = 60_000;

export const sessionQuery = api.queryOptions(
  "get",
  "/admin/v1/session",
  {},
  { staleTime: SESSION_FRESH_MS, retry: false },
);

/** Who is signed in. Only used below the route that made sure somebody is. */
export function useSession(): Session {
  return useSuspenseQuery(sessionQuery).data;
}

/** Whether the signed-in role carries a right; what it does not is not offered. */
export function useMay(): (permission: Permission) => boolean {
  const { permissions } = useSession();
  return useCallback((permission) => permissions.includes(permission), [permissions]);
}

/** The tenant whose the signed-in person is; null for the platform's staff. */
export function useOwnTenant(): Session["tenant"] {
  return useSession().tenant;
}

/** A signed-in session, kept so that the next page does not ask again. */
export function rememberSession(session: Session) {
  queryClient.setQueryData(sessionQuery.queryKey, session);
}

export function useSignOut(): () => void {
  const cache = useQueryClient();
  const navigate = useNavigate();
  return useCallback(() => {
    void client
      .DELETE("/admin/v1/session")
      .catch(() => undefined)
      // Away first: a page still on screen would ask again for what was forgotten.
      .then(() => navigate({ to: "/sign-in" }))
      .then(() => cache.clear());
  }, [cache, navigate]);
}
