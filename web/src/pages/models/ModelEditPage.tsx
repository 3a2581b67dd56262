import { Skeleton, Switch, TagsInput, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import type { Model } from "@/api/types";
import { ErrorState } from "@/components/ErrorState";
import { FormPage, FormSection } from "@/components/form/FormPage";
import { ModelRetire } from "./ModelRetire";
import { modelRules } from "./modelRules";
import { newTarget, TargetFields, targetBody, targetValues } from "./TargetFields";

const route = getRouteApi("/app/models/$id");

export function ModelEditPage() {
  const { id } = route.useParams();
  const model = api.useQuery(
    "get",
    "/admin/v1/models/{id}",
    { params: { path: { id } } },
    { refetchOnWindowFocus: false },
  );
  if (model.error) return <ErrorState error={model.error} onRetry={() => void model.refetch()} />;
  if (!model.data) return <Skeleton height={420} maw={680} mx="auto" />;
  return (
    <ModelEdit key={model.data.version} model={model.data} onReload={() => void model.refetch()} />
  );
}

function ModelEdit({ model, onReload }: { model: Model; onReload: () => void }) {
  const { t } = useTranslation(["models", "common"]);
  const navigate = useNavigate();
  const changed = useChanged("models");
  const form = useForm({
    initialValues: {
      name: model.name,
      aliases: model.aliases,
      strict: model.strict,
      targets: model.targets.length > 0 ? targetValues(model.targets) : [newTarget()],
    },
    validateInputOnBlur: true,
    validate: modelRules(t),
  });
  const save = api.useMutation("patch", "/admin/v1/models/{id}", {
    onSuccess: () => {
      changed();
      form.resetDirty();
      void navigate({ to: "/models", search: { open: model.id }, ignoreBlocker: true });
    },
    onError: (error) => form.setErrors(fieldErrors(error)),
  });
  return (
    <FormPage
      title={model.name}
      purpose={t("editPurpose")}
      back={{ to: "/models", name: t("title") }}
      submit={t("common:save")}
      error={save.error}
      saving={save.isPending}
      dirty={form.isDirty()}
      onReload={onReload}
      onSubmit={form.onSubmit((values) =>
        save.mutate({
          params: { path: { id: model.id }, header: ifMatch(model.version) },
          body: {
            name: values.name.trim(),
            aliases: values.aliases,
            strict: values.strict,
            targets: targetBody(values.targets),
          },
        }),
      )}
      after={<ModelRetire model={model} />}
    >
      <FormSection title={t("about")}>
        <TextInput
          label={t("publicName")}
          description={t("publicNameHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          spellCheck={false}
          {...form.getInputProps("name")}
        />
        <TagsInput
          label={t("aliases")}
          description={t("aliasesHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          placeholder="claude-smart"
          splitChars={[",", " "]}
          clearable
          {...form.getInputProps("aliases")}
        />
        <Switch
          label={t("strict")}
          description={t("strictHelp")}
          {...form.getInputProps("strict", { type: "checkbox" })}
        />
      </FormSection>
      <FormSection title={t("targets")} help={t("targetsHelp")}>
        <TargetFields
          targets={form.values.targets}
          input={(field) => form.getInputProps(field)}
          onAdd={() => form.insertListItem("targets", newTarget())}
          onRemove={(index) => form.removeListItem("targets", index)}
        />
      </FormSection>
    </FormPage>
  );
}
