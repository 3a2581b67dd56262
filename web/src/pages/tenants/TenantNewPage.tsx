import { useForm } from "@mantine/form";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import { FormPage } from "@/components/form/FormPage";
import { TenantFields } from "./TenantFields";
import { NEW_TENANT, tenantBody, tenantRules } from "./tenantForm";

export function TenantNewPage() {
  const { t } = useTranslation(["tenants", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("tenants");
  const form = useForm({
    initialValues: NEW_TENANT,
    validate: tenantRules(t),
    validateInputOnBlur: true,
  });
  const create = api.useMutation("post", "/admin/v1/tenants", {
    onSuccess: (tenant) => {
      changed(t("created", { name: tenant.name }));
      form.resetDirty();
      void navigate({ to: "/tenants", search: { open: tenant.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <FormPage
      title={t("create")}
      purpose={t("createPurpose")}
      back={{ to: "/tenants", name: t("title") }}
      submit={t("create")}
      error={create.error}
      saving={create.isPending}
      dirty={form.isDirty()}
      onSubmit={form.onSubmit((values) => create.mutate({ body: tenantBody(values) }))}
    >
      <TenantFields form={form} />
    </FormPage>
  );
}
