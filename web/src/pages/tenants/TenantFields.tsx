import { Group, MultiSelect, Select, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { useModels } from "@/api/lists";
import { FormSection } from "@/components/form/FormPage";
import { LimitsFields } from "@/components/form/LimitsFields";
import { CURRENCIES } from "@/lib/currencies";
import type { TenantValues } from "./tenantForm";

/** The zones this browser knows; UTC stands first, since it is what a new tenant has. */
function timeZones(current: string): string[] {
  return [...new Set(["UTC", current, ...Intl.supportedValuesOf("timeZone")])];
}

export function TenantFields({ form }: { form: UseFormReturnType<TenantValues> }) {
  const { t } = useTranslation(["tenants", "common"]);
  const models = useModels();
  const zones = useMemo(() => timeZones(form.values.time_zone), [form.values.time_zone]);
  return (
    <>
      <FormSection title={t("about")}>
        <TextInput
          label={t("common:name")}
          description={t("nameHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          autoComplete="off"
          {...form.getInputProps("name")}
        />
        <Select
          label={t("timeZone")}
          description={t("timeZoneHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          data={zones}
          searchable
          limit={50}
          allowDeselect={false}
          {...form.getInputProps("time_zone")}
        />
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
      <FormSection title={t("monthlyBudget")} help={t("budgetHelp")}>
        <Group align="flex-start" gap="xs" wrap="nowrap">
          <TextInput
            label={t("amount")}
            inputMode="decimal"
            placeholder={t("common:unlimited")}
            flex={1}
            {...form.getInputProps("budget.amount")}
          />
          <Select
            label={t("currency")}
            data={CURRENCIES}
            allowDeselect={false}
            w={110}
            {...form.getInputProps("budget.currency")}
          />
        </Group>
      </FormSection>
      <FormSection title={t("common:limits.title")} help={t("common:limits.help")}>
        <LimitsFields form={form} />
      </FormSection>
    </>
  );
}
