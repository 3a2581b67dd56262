import { api } from "./client";
import { useMay, useOwnTenant } from "./session";

/** The server's largest page: enough to choose from in a menu. */
export const CHOICES = 200;
/** How long typing rests before a filter is asked for. */
export const TYPING_MS = 200;
/** Rows of a page people read. */
export const PAGE = 50;

export function useTenants(enabled = true) {
  const may = useMay();
  return api.useQuery(
    "get",
    "/admin/v1/tenants",
    { params: { query: { limit: CHOICES } } },
    { enabled: enabled && may("tenants.read") },
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

/** The models somebody may choose from, by name: all there are, or those of their own tenant. */
export function useModelNames(enabled = true): string[] {
  const may = useMay();
  const own = useOwnTenant() !== null;
  const all = useModels(enabled && !own && may("models.read"));
  const available = api.useQuery(
    "get",
    "/admin/v1/available-models",
    { params: { query: { limit: CHOICES } } },
    { enabled: enabled && own },
  );
  return (own ? available : all).data?.data.map(({ name }) => name) ?? [];
}

/** The projects of a tenant; of none where none is chosen yet, and none for who sees none. */
export function useProjects(tenantId: string, enabled = true) {
  const may = useMay();
  return api.useQuery(
    "get",
    "/admin/v1/projects",
    { params: { query: { limit: CHOICES, tenant_id: tenantId } } },
    { enabled: enabled && tenantId !== "" && may("projects.read") },
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
  const own = useOwnTenant();
  const tenants = useTenants(own === null).data?.data;
  return (id) => (own ? [own] : tenants)?.find((tenant) => tenant.id === id)?.name;
}
