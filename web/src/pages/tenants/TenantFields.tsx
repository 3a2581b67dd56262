import {
  Group,
  MultiSelect,
  NumberInput,
  Select,
  SimpleGrid,
  Switch,
  TagsInput,
  TextInput,
} from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { IconTrash } from "@tabler/icons-react";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { useModels } from "@/api/lists";
import { FormSection } from "@/components/form/FormPage";
import { LimitsFields, NO_LIMITS } from "@/components/form/LimitsFields";
import { IconAction } from "@/components/IconAction";
import { CURRENCIES } from "@/lib/currencies";
import { PERIODS } from "./budgetForm";
import { RESPONSES, type TenantValues } from "./tenantForm";

const BILLING_MODES = ["postpaid", "prepaid"] as const;

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
      <FormSection title={t("ownBudget")} help={t("budgetHelp")}>
        <SimpleGrid cols={{ base: 1, xs: 3 }} spacing="md">
          <TextInput
            label={t("amount")}
            inputMode="decimal"
            placeholder={t("common:unlimited")}
            {...form.getInputProps("budget.amount")}
          />
          <Select
            label={t("currency")}
            data={CURRENCIES}
            allowDeselect={false}
            {...form.getInputProps("budget.currency")}
          />
          <Select
            label={t("budgets.period")}
            data={PERIODS.map((value) => ({ value, label: t(`budgets.periods.${value}`) }))}
            allowDeselect={false}
            {...form.getInputProps("budget.period")}
          />
        </SimpleGrid>
      </FormSection>
      <FormSection title={t("billing.title")} help={t("billing.help")}>
        <SimpleGrid cols={{ base: 1, xs: 3 }} spacing="md">
          <Select
            label={t("billing.mode")}
            data={BILLING_MODES.map((value) => ({ value, label: t(`billing.modes.${value}`) }))}
            allowDeselect={false}
            {...form.getInputProps("billing.mode")}
          />
          <Select
            label={t("currency")}
            data={[...new Set([...CURRENCIES, form.values.billing.currency])]}
            allowDeselect={false}
            {...form.getInputProps("billing.currency")}
          />
          <TextInput
            label={t("billing.alert")}
            inputMode="decimal"
            placeholder={t("common:never")}
            {...form.getInputProps("billing.balance_alert")}
          />
        </SimpleGrid>
        <TagsInput
          label={t("billing.emails")}
          description={t("billing.emailsHelp")}
          inputWrapperOrder={["label", "input", "description", "error"]}
          maxTags={10}
          {...form.getInputProps("billing.alert_emails")}
        />
      </FormSection>
      <FormSection title={t("common:limits.title")} help={t("common:limits.help")}>
        <LimitsFields form={form} />
      </FormSection>
      <FormSection title={t("endUserLimits")} help={t("endUserLimitsHelp")}>
        <LimitsFields form={form} at="end_user_limits" />
      </FormSection>
      <FormSection title={t("modelLimits.title")} help={t("modelLimits.help")}>
        <ModelLimits form={form} models={models.data?.data.map(({ name }) => name) ?? []} />
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

/** Limits of single models; a model is chosen once, so that none stands there twice. */
function ModelLimits({
  form,
  models,
}: {
  form: UseFormReturnType<TenantValues>;
  models: string[];
}) {
  const { t } = useTranslation("tenants");
  const rows = form.values.model_limits;
  const others = models.filter((name) => !rows.some(({ model }) => model === name));
  return (
    <>
      {rows.map(({ model }, index) => (
        <div key={model}>
          <Group justify="space-between" mb={4}>
            <strong>{model}</strong>
            <IconAction
              label={t("modelLimits.remove", { model })}
              onClick={() => form.removeListItem("model_limits", index)}
            >
              <IconTrash size={16} />
            </IconAction>
          </Group>
          <LimitsFields form={form} at={`model_limits.${index}.limits`} />
        </div>
      ))}
      <Select
        label={t("modelLimits.add")}
        data={others}
        value={null}
        searchable
        onChange={(model) => {
          if (model) form.insertListItem("model_limits", { model, limits: NO_LIMITS });
        }}
      />
    </>
  );
}
