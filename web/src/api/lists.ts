import { api } from "./client";

/** The server's largest page: enough to choose from in a menu. */
export const CHOICES = 200;
/** How long typing rests before a filter is asked for. */
export const TYPING_MS = 200;
/** Rows of a page people read. */
export const PAGE = 50;

export function useTenants(enabled = true) {
  return api.useQuery(
    "get",
    "/admin/v1/tenants",
    { params: { query: { limit: CHOICES } } },
    { enabled },
  );
}

export function useUpstreams(enabled = true) {
  return api.useQuery(
    "get",
    "/admin/v1/upstreams",
    { params: { query: { limit: CHOICES } } },
    { enabled },
  );
}

export function useModels(enabled = true) {
  return api.useQuery(
    "get",
    "/admin/v1/models",
    { params: { query: { limit: CHOICES } } },
    { enabled },
  );
}

/** The projects of a tenant; of none where none is chosen yet. */
export function useProjects(tenantId: string, enabled = true) {
  return api.useQuery(
    "get",
    "/admin/v1/projects",
    { params: { query: { limit: CHOICES, tenant_id: tenantId } } },
    { enabled: enabled && tenantId !== "" },
  );
}

/** The keys of a tenant that are in use. */
export function useKeysOf(tenantId: string, enabled = true) {
  return api.useQuery(
    "get",
    "/admin/v1/api-keys",
    { params: { query: { limit: CHOICES, tenant_id: tenantId, status: "active" } } },
    { enabled },
  );
}

/** What is running and where tenants send their requests. */
export function useVersion() {
  return api.useQuery("get", "/admin/v1/version", {}, { staleTime: Number.POSITIVE_INFINITY });
}

/** A tenant's name for its id, from the list the menus use. */
export function useTenantName(): (id: string) => string | undefined {
  const tenants = useTenants().data?.data;
  return (id) => tenants?.find((tenant) => tenant.id === id)?.name;
}
