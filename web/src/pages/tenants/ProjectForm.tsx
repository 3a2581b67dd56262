import { Button, Group, Modal, MultiSelect, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useModelNames } from "@/api/lists";
import { fieldErrors } from "@/api/problem";
import type { Project, Tenant } from "@/api/types";
import { FormFailure } from "@/components/form/FormFailure";
import { LimitsFields, limitsBody, limitsInput, NO_LIMITS } from "@/components/form/LimitsFields";

interface Props {
  tenant: Tenant;
  /** The one to change; none makes another. */
  project?: Project | undefined;
  onClose: () => void;
}

export function ProjectForm({ tenant, project, onClose }: Props) {
  const { t } = useTranslation(["tenants", "common"]);
  const changed = useChanged("projects");
  const models = useModelNames();
  const form = useForm({
    initialValues: {
      name: project?.name ?? "",
      limits: project ? limitsInput(project.limits) : NO_LIMITS,
      allowed_models: project?.allowed_models ?? [],
    },
    validate: { name: (name) => (name.trim() ? null : t("common:nameNeeded")) },
    validateInputOnBlur: true,
  });
  const done = {
    onSuccess: ({ name }: Project) => {
      onClose();
      changed(project ? undefined : t("projects.added", { name }));
    },
    onError: (error: unknown) => form.setErrors(fieldErrors(error)),
  };
  const create = api.useMutation("post", "/admin/v1/projects", done);
  const update = api.useMutation("patch", "/admin/v1/projects/{id}", done);
  const save = form.onSubmit((values) => {
    const body = {
      name: values.name.trim(),
      limits: limitsBody(values.limits),
      allowed_models: values.allowed_models.length > 0 ? values.allowed_models : null,
    };
    if (project) {
      const params = { path: { id: project.id }, header: ifMatch(project.version) };
      update.mutate({ params, body });
    } else {
      create.mutate({ body: { tenant_id: tenant.id, ...body } });
    }
  });
  const title = project ? t("projects.edit", { name: project.name }) : t("projects.add");
  return (
    <Modal opened onClose={onClose} title={title} size="lg">
      <form noValidate onSubmit={save}>
        <Stack gap="md">
          <FormFailure error={create.error ?? update.error} />
          <TextInput
            data-autofocus
            label={t("common:name")}
            description={t("projects.nameHelp")}
            inputWrapperOrder={["label", "input", "description", "error"]}
            autoComplete="off"
            {...form.getInputProps("name")}
          />
          <LimitsFields form={form} />
          <MultiSelect
            label={t("models")}
            description={t("projects.modelsHelp")}
            inputWrapperOrder={["label", "input", "description", "error"]}
            placeholder={form.values.allowed_models.length === 0 ? t("projects.allModels") : ""}
            data={models}
            searchable
            clearable
            {...form.getInputProps("allowed_models")}
          />
          <Group gap="xs">
            <Button type="submit" loading={create.isPending || update.isPending}>
              {t(project ? "common:save" : "projects.add")}
            </Button>
            <Button variant="default" onClick={onClose}>
              {t("common:cancel")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
