import { MultiSelect, Select, TagsInput, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { getRouteApi } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useModels, useProjects, useTenants } from "@/api/lists";
import { fieldErrors } from "@/api/problem";
import { FormPage, FormSection } from "@/components/form/FormPage";
import { LimitsFields, limitsBody, NO_LIMITS } from "@/components/form/LimitsFields";
import { ENDPOINTS } from "./endpoints";
import { NewKeyShown } from "./NewKeyShown";

const route = getRouteApi("/app/keys/new");

/** An empty choice is no restriction. */
function someOf(chosen: string[]): string[] | null {
  return chosen.length > 0 ? chosen : null;
}

export function KeyNewPage() {
  const { t } = useTranslation(["keys", "common"]);
  const { tenant } = route.useSearch();
  const tenants = useTenants();
  const models = useModels();
  const changed = useChanged("api-keys");
  const form = useForm({
    initialValues: {
      tenant_id: tenant ?? "",
      name: "",
      expires_at: "",
      limits: NO_LIMITS,
      project: null as string | null,
      allowed_models: [] as string[],
      allowed_endpoints: [] as string[],
      allowed_networks: [] as string[],
    },
    validateInputOnBlur: true,
    validate: {
      tenant_id: (value) => (value ? null : t("tenantNeeded")),
      name: (value) => (value.trim() ? null : t("common:nameNeeded")),
      expires_at: (value) => (value && Date.parse(value) <= Date.now() ? t("expiresRule") : null),
    },
  });
  // A project is a tenant's own.
  form.watch("tenant_id", () => form.setFieldValue("project", null));
  const projects = useProjects(form.values.tenant_id);
  const joinable = projects.data?.data.filter(({ status }) => status === "active") ?? [];
  const create = api.useMutation("post", "/admin/v1/api-keys", {
    onSuccess: () => {
      form.resetDirty();
      changed(t("created"));
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });

  if (create.data) {
    const allowed = create.data.allowed_models?.[0] ?? models.data?.data[0]?.name;
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
          body: {
            tenant_id: values.tenant_id,
            name: values.name.trim(),
            expires_at: values.expires_at ? new Date(values.expires_at).toISOString() : null,
            limits: limitsBody(values.limits),
            project: values.project,
            allowed_models: someOf(values.allowed_models),
            allowed_endpoints: someOf(values.allowed_endpoints),
            allowed_networks: someOf(values.allowed_networks),
          },
        }),
      )}
    >
      <FormSection title={t("about")}>
        <Select
          label={t("tenant")}
          data={tenants.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
          searchable
          allowDeselect={false}
          {...form.getInputProps("tenant_id")}
        />
        <TextInput
          label={t("common:name")}
          description={t("nameHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          autoComplete="off"
          {...form.getInputProps("name")}
        />
        <TextInput
          type="datetime-local"
          label={t("expires")}
          description={t("expiresHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          {...form.getInputProps("expires_at")}
        />
        {joinable.length > 0 ? (
          <Select
            label={t("project")}
            description={t("projectHelp")}
            inputWrapperOrder={["label", "input", "description", "error"]}
            placeholder={t("noProject")}
            data={joinable.map(({ name }) => name)}
            searchable
            clearable
            {...form.getInputProps("project")}
          />
        ) : null}
        <MultiSelect
          label={t("models")}
          description={t("modelsHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          placeholder={form.values.allowed_models.length === 0 ? t("allModels") : ""}
          data={models.data?.data.map(({ name }) => name) ?? []}
          searchable
          clearable
          {...form.getInputProps("allowed_models")}
        />
      </FormSection>
      <FormSection title={t("scopes")} help={t("scopesHelp")}>
        <MultiSelect
          label={t("endpoints")}
          placeholder={form.values.allowed_endpoints.length === 0 ? t("allEndpoints") : ""}
          data={[...ENDPOINTS]}
          searchable
          clearable
          {...form.getInputProps("allowed_endpoints")}
        />
        <TagsInput
          label={t("networks")}
          description={t("networksHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          placeholder={form.values.allowed_networks.length === 0 ? t("anyNetwork") : ""}
          maxTags={100}
          {...form.getInputProps("allowed_networks")}
        />
      </FormSection>
      <FormSection title={t("common:limits.title")} help={t("limitsHelp")}>
        <LimitsFields form={form} />
      </FormSection>
    </FormPage>
  );
}
