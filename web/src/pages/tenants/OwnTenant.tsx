import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import type { Session } from "@/api/types";
import { DrawerSkeleton } from "@/components/DrawerSkeleton";
import { ErrorState } from "@/components/ErrorState";
import { PageHeader } from "@/components/PageHeader";
import classes from "./OwnTenant.module.css";
import { TenantDetail } from "./TenantDrawer";

/** The one tenant its admin has: what it may use, and its projects. */
export function OwnTenant({ tenant }: { tenant: NonNullable<Session["tenant"]> }) {
  const { t } = useTranslation("tenants");
  const found = api.useQuery("get", "/admin/v1/tenants/{id}", {
    params: { path: { id: tenant.id } },
  });
  return (
    <>
      <PageHeader title={tenant.name} purpose={t("ownPurpose")} />
      {found.error ? (
        <ErrorState error={found.error} onRetry={() => void found.refetch()} />
      ) : (
        <div className={classes.panel}>
          {found.data ? <TenantDetail tenant={found.data} /> : <DrawerSkeleton />}
        </div>
      )}
    </>
  );
}
