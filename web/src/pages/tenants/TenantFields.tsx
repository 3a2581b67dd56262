import {
  Group,
  MultiSelect,
  NumberInput,
  Select,
  SimpleGrid,
  Switch,
  TextInput,
} from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { useModels } from "@/api/lists";
import { FormSection } from "@/components/form/FormPage";
import { LimitsFields } from "@/components/form/LimitsFields";
import { CURRENCIES } from "@/lib/currencies";
import { RESPONSES, type TenantValues } from "./tenantForm";

const RESPONSE_BOUNDS = [
  { field: "lifetime_hours", min: 1, max: 8784 },
  { field: "max_count", min: 1, max: 100_000 },
  { field: "max_bytes", min: 1_048_576, max: 1_099_511_627_776 },
] as const;

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
      <FormSection title={t("responses.title")} help={t("responses.help")}>
        <Switch
          label={t("responses.store")}
          checked={form.values.responses.mode === "stored"}
          onChange={(event) =>
            form.setFieldValue(
              "responses.mode",
              event.currentTarget.checked ? "stored" : "stateless",
            )
          }
        />
        {form.values.responses.mode === "stored" ? (
          <SimpleGrid cols={{ base: 1, xs: 3 }} spacing="md">
            {RESPONSE_BOUNDS.map(({ field, min, max }) => (
              <NumberInput
                key={field}
                label={t(`responses.${field}`)}
                placeholder={String(RESPONSES[field])}
                min={min}
                max={max}
                allowDecimal={false}
                allowNegative={false}
                thousandSeparator=","
                hideControls
                {...form.getInputProps(`responses.${field}`)}
              />
            ))}
          </SimpleGrid>
        ) : null}
      </FormSection>
    </>
  );
}
