import { Select } from "@mantine/core";
import { useForm } from "@mantine/form";
import { getRouteApi } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useModelNames, useTenants } from "@/api/lists";
import { fieldErrors } from "@/api/problem";
import { useOwnTenant } from "@/api/session";
import { FormPage } from "@/components/form/FormPage";
import { KeyFields } from "./KeyFields";
import { keyBody, keyRules, keyValues } from "./keyForm";
import { NewKeyShown } from "./NewKeyShown";

const route = getRouteApi("/app/keys/new");

export function KeyNewPage() {
  const { t } = useTranslation(["keys", "common"]);
  const { tenant } = route.useSearch();
  const own = useOwnTenant();
  const tenants = useTenants(own === null);
  const models = useModelNames();
  const changed = useChanged("api-keys");
  const form = useForm({
    initialValues: { tenant_id: own?.id ?? tenant ?? "", ...keyValues() },
    validateInputOnBlur: true,
    validate: {
      tenant_id: (value) => (value ? null : t("tenantNeeded")),
      ...keyRules(t),
    },
  });
  // A project is a tenant's own.
  form.watch("tenant_id", () => form.setFieldValue("project", null));
  const create = api.useMutation("post", "/admin/v1/api-keys", {
    onSuccess: () => {
      form.resetDirty();
      changed(t("created"));
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });

  if (create.data) {
    const allowed = create.data.allowed_models?.[0] ?? models[0];
    return <NewKeyShown made={create.data} model={allowed} />;
  }

  return (
    <FormPage
      title={t("create")}
      purpose={t("createPurpose")}
      back={{ to: "/keys", name: t("title") }}
      submit={t("create")}
      error={create.error}
      saving={create.isPending}
      dirty={form.isDirty()}
      onSubmit={form.onSubmit((values) =>
        create.mutate({
          body: { tenant_id: values.tenant_id, ...keyBody(values) },
        }),
      )}
    >
      <KeyFields
        form={form}
        tenantId={form.values.tenant_id}
        first={
          own ? null : (
            <Select
              label={t("tenant")}
              data={tenants.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
              searchable
              allowDeselect={false}
              {...form.getInputProps("tenant_id")}
            />
          )
        }
      />
    </FormPage>
  );
}
