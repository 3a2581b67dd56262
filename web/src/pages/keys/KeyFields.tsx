import { MultiSelect, Select, TagsInput, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { useModelNames, useProjects } from "@/api/lists";
import { FormSection } from "@/components/form/FormPage";
import { LimitsFields } from "@/components/form/LimitsFields";
import { ENDPOINTS } from "./endpoints";
import type { KeyValues } from "./keyForm";

/** What of a key can be set, new or not. `first` stands above the name. */
export function KeyFields<Values extends KeyValues>({
  form: typed,
  tenantId,
  first,
}: {
  form: UseFormReturnType<Values>;
  tenantId: string;
  first?: ReactNode;
}) {
  const { t } = useTranslation(["keys", "common"]);
  const form = typed as unknown as UseFormReturnType<KeyValues>;
  const models = useModelNames();
  const projects = useProjects(tenantId).data?.data ?? [];
  // One that was archived stays with those that have it.
  const joinable = projects.filter(
    ({ name, status }) => status === "active" || name === form.values.project,
  );
  return (
    <>
      <FormSection title={t("about")}>
        {first}
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
          data={models}
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
    </>
  );
}
