import { Button, NumberInput, Select, Switch, TagsInput, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useModels, useTenants } from "@/api/lists";
import { FormSection } from "@/components/form/FormPage";
import { IconAction } from "@/components/IconAction";
import { newTarget, TargetFields } from "@/pages/models/TargetFields";
import classes from "./Routes.module.css";
import { newArm, type RouteValues, SPLIT_BY, STRATEGIES } from "./routeForm";

const BELOW = ["label", "input", "description", "error"] as const;

type Form = UseFormReturnType<RouteValues>;

/** What a route matches, how it chooses, and among what. */
export function RouteFields({ form }: { form: Form }) {
  const { t } = useTranslation(["routes", "common"]);
  const values = form.values;
  return (
    <>
      <FormSection title={t("about")}>
        <TextInput
          label={t("common:name")}
          placeholder="batch-to-cheap"
          autoComplete="off"
          {...form.getInputProps("name")}
        />
        <NumberInput
          className={classes.short}
          label={t("position")}
          description={t("positionHelp")}
          inputWrapperOrder={[...BELOW]}
          min={0}
          max={1_000_000}
          hideControls
          {...form.getInputProps("position")}
        />
      </FormSection>
      <MatchFields form={form} />
      <FormSection title={t("choose")} help={t("chooseHelp")}>
        <Select
          label={t("strategy")}
          description={t(`strategyHelp.${values.strategy}`)}
          inputWrapperOrder={[...BELOW]}
          data={STRATEGIES.map((value) => ({ value, label: t(`strategies.${value}`) }))}
          allowDeselect={false}
          {...form.getInputProps("strategy")}
        />
        <Switch
          label={t("affinity")}
          description={t("affinityHelp")}
          {...form.getInputProps("affinity", { type: "checkbox" })}
        />
        <SplitFields form={form} />
        <HedgeFields form={form} />
      </FormSection>
      <FormSection title={t("targets")} help={t("targetsHelp")}>
        <TargetFields
          targets={values.targets}
          arms={values.split ? values.arms.map(({ name }) => name).filter(Boolean) : undefined}
          input={(field) => form.getInputProps(field)}
          onAdd={() => form.insertListItem("targets", newTarget())}
          onRemove={(index) => form.removeListItem("targets", index)}
        />
      </FormSection>
    </>
  );
}

function MatchFields({ form }: { form: Form }) {
  const { t } = useTranslation("routes");
  const models = useModels().data?.data.map(({ name }) => name) ?? [];
  const tenants = useTenants().data?.data.map(({ name }) => name) ?? [];
  const list = (field: "models" | "tenants" | "projects" | "tags", data: string[] = []) => (
    <TagsInput
      label={t(`match.${field}`)}
      description={t(`match.${field}Help`)}
      inputWrapperOrder={[...BELOW]}
      data={data}
      splitChars={[","]}
      clearable
      {...form.getInputProps(field)}
    />
  );
  return (
    <FormSection title={t("match.title")} help={t("match.help")}>
      {list("models", models)}
      {list("tenants", tenants)}
      {list("tags")}
      {list("projects")}
      <TagsInput
        label={t("match.headers")}
        description={t("match.headersHelp")}
        inputWrapperOrder={[...BELOW]}
        placeholder="x-team: search*"
        splitChars={[]}
        clearable
        {...form.getInputProps("headers")}
      />
      <div className={classes.pair}>
        <NumberInput
          label={t("match.minTokens")}
          min={0}
          thousandSeparator=" "
          hideControls
          {...form.getInputProps("minTokens")}
        />
        <NumberInput
          label={t("match.maxTokens")}
          min={0}
          thousandSeparator=" "
          hideControls
          {...form.getInputProps("maxTokens")}
        />
      </div>
    </FormSection>
  );
}

function SplitFields({ form }: { form: Form }) {
  const { t } = useTranslation("routes");
  const { split, splitBy, arms } = form.values;
  const whole = arms.reduce((sum, { weight }) => sum + (weight || 0), 0);
  return (
    <>
      <Switch
        label={t("split.title")}
        description={t("split.help")}
        {...form.getInputProps("split", { type: "checkbox" })}
      />
      {split ? (
        <div className={classes.nested}>
          <div className={classes.pair}>
            <Select
              label={t("split.by")}
              data={SPLIT_BY.map((value) => ({ value, label: t(`split.bys.${value}`) }))}
              allowDeselect={false}
              {...form.getInputProps("splitBy")}
            />
            {splitBy === "header" ? (
              <TextInput
                label={t("split.header")}
                placeholder="x-cohort"
                spellCheck={false}
                {...form.getInputProps("splitHeader")}
              />
            ) : null}
          </div>
          {arms.map((arm, index) => (
            <div key={arm.key} className={classes.arm}>
              <TextInput
                className={classes.grow}
                label={t("split.arm", { number: index + 1 })}
                autoComplete="off"
                {...form.getInputProps(`arms.${index}.name`)}
              />
              <NumberInput
                className={classes.number}
                label={t("split.weight")}
                min={0}
                max={1_000_000}
                hideControls
                {...form.getInputProps(`arms.${index}.weight`)}
              />
              <span className={classes.share}>
                {whole > 0 ? `${Math.round(((arm.weight || 0) / whole) * 1000) / 10} %` : "–"}
              </span>
              <IconAction
                label={t("split.removeArm", { number: index + 1 })}
                className={classes.remove}
                variant="transparent"
                disabled={arms.length === 1}
                onClick={() => form.removeListItem("arms", index)}
              >
                <IconTrash size={16} />
              </IconAction>
            </div>
          ))}
          <div>
            <Button
              variant="default"
              size="xs"
              leftSection={<IconPlus size={14} />}
              disabled={arms.length >= 16}
              onClick={() => form.insertListItem("arms", newArm())}
            >
              {t("split.addArm")}
            </Button>
          </div>
        </div>
      ) : null}
    </>
  );
}

function HedgeFields({ form }: { form: Form }) {
  const { t } = useTranslation("routes");
  return (
    <>
      <Switch
        label={t("hedge.title")}
        description={t("hedge.help")}
        {...form.getInputProps("hedge", { type: "checkbox" })}
      />
      {form.values.hedge ? (
        <div className={`${classes.nested} ${classes.pair}`}>
          <NumberInput
            label={t("hedge.after")}
            suffix=" ms"
            min={1}
            hideControls
            {...form.getInputProps("hedgeAfter")}
          />
          <NumberInput
            label={t("hedge.percent")}
            suffix=" %"
            min={1}
            max={100}
            hideControls
            {...form.getInputProps("hedgePercent")}
          />
          <TextInput
            label={t("hedge.spend")}
            placeholder={t("hedge.unbounded")}
            inputMode="decimal"
            {...form.getInputProps("hedgeSpend")}
          />
        </div>
      ) : null}
    </>
  );
}
