import type { Role, Session } from "@/api/types";

const TENANT_ROLES = ["tenant_admin", "tenant_member"] as const satisfies readonly Role[];
const STAFF_ROLES = ["admin", "finance", "ops", "auditor"] as const satisfies readonly Role[];

export function isOfTenant(role: Role): boolean {
  return TENANT_ROLES.some((one) => one === role);
}

/** The roles somebody may give: nobody but an owner reaches as high as themself. */
export function rolesToGive({ role, tenant }: Pick<Session, "role" | "tenant">): Role[] {
  if (tenant) return [...TENANT_ROLES];
  if (role === "owner") return ["owner", ...STAFF_ROLES, ...TENANT_ROLES];
  return [...STAFF_ROLES.filter((one) => one !== "admin"), ...TENANT_ROLES];
}
