import { Skeleton } from "@mantine/core";
import { useForm } from "@mantine/form";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { Tenant } from "@/api/types";
import { ErrorState } from "@/components/ErrorState";
import { FormPage } from "@/components/form/FormPage";
import { SuspendSection } from "./SuspendSection";
import { TenantFields } from "./TenantFields";
import { tenantBody, tenantRules, tenantValues } from "./tenantForm";

const route = getRouteApi("/app/tenants/$id");

export function TenantEditPage() {
  const { id } = route.useParams();
  const tenant = api.useQuery(
    "get",
    "/admin/v1/tenants/{id}",
    { params: { path: { id } } },
    { refetchOnWindowFocus: false },
  );
  if (tenant.error)
    return <ErrorState error={tenant.error} onRetry={() => void tenant.refetch()} />;
  if (!tenant.data) return <Skeleton height={420} maw={680} mx="auto" />;
  // A new version is a new form: what was typed against the old one must not be sent.
  return (
    <TenantEdit
      key={tenant.data.version}
      tenant={tenant.data}
      onReload={() => void tenant.refetch()}
    />
  );
}

function TenantEdit({ tenant, onReload }: { tenant: Tenant; onReload: () => void }) {
  const { t } = useTranslation(["tenants", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("tenants");
  const form = useForm({
    initialValues: tenantValues(tenant),
    validate: tenantRules(t),
    validateInputOnBlur: true,
  });
  const save = api.useMutation("patch", "/admin/v1/tenants/{id}", {
    onSuccess: () => {
      changed();
      form.resetDirty();
      void navigate({ to: "/tenants", search: { open: tenant.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <FormPage
      title={tenant.name}
      purpose={t("editPurpose")}
      back={{ to: "/tenants", name: t("title") }}
      submit={t("common:save")}
      error={save.error}
      saving={save.isPending}
      dirty={form.isDirty()}
      onReload={onReload}
      onSubmit={form.onSubmit((values) =>
        save.mutate({
          params: { path: { id: tenant.id }, header: ifMatch(tenant.version) },
          body: tenantBody(values),
        }),
      )}
      after={<SuspendSection tenant={tenant} />}
    >
      <TenantFields form={form} />
    </FormPage>
  );
}
