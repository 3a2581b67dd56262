import { Button, Group, Modal, Select, Stack, TagsInput, TextInput } from "@mantine/core";
import { type UseFormReturnType, useForm } from "@mantine/form";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useKeysOf, useModels, useProjects } from "@/api/lists";
import { fieldErrors } from "@/api/problem";
import type { Tenant, TenantBudget } from "@/api/types";
import { FormFailure } from "@/components/form/FormFailure";
import { CURRENCIES } from "@/lib/currencies";
import {
  type BudgetValues,
  budgetBody,
  budgetChange,
  budgetRules,
  budgetValues,
  MODES,
  PERIODS,
  SCOPES,
} from "./budgetForm";

type Part = "label" | "input" | "description" | "error";

const HELP_UNDER: Part[] = ["label", "input", "description", "error"];

interface Props {
  tenant: Tenant;
  /** The one to change; none makes another. */
  budget?: TenantBudget | undefined;
  onClose: () => void;
}

/** Whom a budget is of and its period say what was counted, so they are chosen once. */
export function BudgetForm({ tenant, budget, onClose }: Props) {
  const { t } = useTranslation(["tenants", "common"]);
  const changed = useChanged("budgets");
  const form = useForm({
    initialValues: budgetValues(budget),
    validate: budgetRules(t),
    validateInputOnBlur: true,
  });
  const done = {
    onSuccess: () => {
      onClose();
      changed(budget ? undefined : t("budgets.added"));
    },
    onError: (error: unknown) => form.setErrors(fieldErrors(error)),
  };
  const create = api.useMutation("post", "/admin/v1/budgets", done);
  const update = api.useMutation("patch", "/admin/v1/budgets/{id}", done);
  const save = form.onSubmit((values) => {
    if (budget?.id && budget.version !== null) {
      update.mutate({
        params: { path: { id: budget.id }, header: ifMatch(budget.version) },
        body: budgetChange(values),
      });
    } else {
      create.mutate({ body: budgetBody(tenant.id, values) });
    }
  });
  return (
    <Modal opened onClose={onClose} title={t(budget ? "budgets.edit" : "budgets.add")} size="md">
      <form noValidate onSubmit={save}>
        <Stack gap="md">
          <FormFailure error={create.error ?? update.error} />
          {budget ? null : (
            <>
              <Select
                data-autofocus
                label={t("budgets.scopeLabel")}
                data={SCOPES.map((value) => ({ value, label: t(`budgets.scope.${value}`) }))}
                allowDeselect={false}
                {...form.getInputProps("scope")}
              />
              <Subject tenant={tenant} form={form} />
              <Select
                label={t("budgets.period")}
                description={t("budgets.periodHelp", { zone: tenant.time_zone })}
                inputWrapperOrder={HELP_UNDER}
                data={PERIODS.map((value) => ({ value, label: t(`budgets.periods.${value}`) }))}
                allowDeselect={false}
                {...form.getInputProps("period")}
              />
            </>
          )}
          <Group align="flex-start" gap="xs" wrap="nowrap">
            <TextInput
              label={t("amount")}
              inputMode="decimal"
              flex={1}
              {...form.getInputProps("amount")}
            />
            <Select
              label={t("currency")}
              data={[...new Set([...CURRENCIES, form.values.currency])]}
              allowDeselect={false}
              disabled={budget !== undefined}
              w={110}
              {...form.getInputProps("currency")}
            />
          </Group>
          <Select
            label={t("budgets.mode")}
            description={t(`budgets.modeHelp.${form.values.mode}`)}
            inputWrapperOrder={HELP_UNDER}
            data={MODES.map((value) => ({ value, label: t(`budgets.modes.${value}`) }))}
            allowDeselect={false}
            {...form.getInputProps("mode")}
          />
          <TagsInput
            label={t("budgets.alerts")}
            description={t("budgets.alertsHelp")}
            inputWrapperOrder={HELP_UNDER}
            maxTags={10}
            {...form.getInputProps("alerts")}
          />
          <Group gap="xs">
            <Button type="submit" loading={create.isPending || update.isPending}>
              {t(budget ? "common:save" : "budgets.add")}
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

function Subject({ tenant, form }: { tenant: Tenant; form: UseFormReturnType<BudgetValues> }) {
  const { t } = useTranslation("tenants");
  const { scope } = form.values;
  const projects = useProjects(tenant.id, scope === "project");
  const keys = useKeysOf(tenant.id, scope === "key");
  const models = useModels(scope === "model");
  const named = (items: { id: string; name: string }[] | undefined) =>
    items?.map(({ id, name }) => ({ value: id, label: name })) ?? [];
  switch (scope) {
    case "tenant":
      return null;
    case "project":
      return (
        <Select
          label={t("budgets.scope.project")}
          data={named(projects.data?.data)}
          searchable
          nothingFoundMessage={t("projects.none")}
          allowDeselect={false}
          {...form.getInputProps("project_id")}
        />
      );
    case "key":
      return (
        <Select
          label={t("budgets.scope.key")}
          data={named(keys.data?.data)}
          searchable
          allowDeselect={false}
          {...form.getInputProps("key_id")}
        />
      );
    case "model":
      return (
        <Select
          label={t("budgets.scope.model")}
          data={models.data?.data.map(({ name }) => name) ?? []}
          searchable
          allowDeselect={false}
          {...form.getInputProps("model")}
        />
      );
    case "end_user":
      return (
        <TextInput
          label={t("budgets.scope.end_user")}
          placeholder={t("budgets.each")}
          description={t("budgets.endUserHelp")}
          inputWrapperOrder={HELP_UNDER}
          autoComplete="off"
          {...form.getInputProps("end_user")}
        />
      );
  }
}
