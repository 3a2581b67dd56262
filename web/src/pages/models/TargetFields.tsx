import { Button, NumberInput, Select, TextInput } from "@mantine/core";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useUpstreams } from "@/api/lists";
import type { Target } from "@/api/types";
import { IconAction } from "@/components/IconAction";
import classes from "./TargetFields.module.css";

export interface TargetValues {
  /** Only to tell the rows of the form apart. */
  key: string;
  upstream_id: string;
  upstream_model: string;
  weight: number | "";
  priority: number | "";
  arm: string | null;
  /** Not edited here, and kept as they are. */
  kept: Pick<Target, "price_model" | "cost" | "capabilities">;
}

let rows = 0;
export function newTarget(): TargetValues {
  rows += 1;
  return {
    key: `new-${rows}`,
    upstream_id: "",
    upstream_model: "",
    weight: 1,
    priority: 1,
    arm: null,
    kept: {
      price_model: null,
      cost: null,
      capabilities: { context_tokens: null, images: null, documents: null, tools: null },
    },
  };
}

export function targetValues(targets: Target[]): TargetValues[] {
  return targets.map(
    ({
      id,
      upstream_id,
      upstream_model,
      weight,
      priority,
      arm,
      price_model,
      cost,
      capabilities,
    }) => ({
      key: id,
      upstream_id,
      upstream_model,
      weight,
      priority,
      arm,
      kept: { price_model, cost, capabilities },
    }),
  );
}

export function targetBody(targets: TargetValues[]) {
  return targets.map(({ upstream_id, upstream_model, weight, priority, arm, kept }) => ({
    upstream_id,
    upstream_model: upstream_model.trim(),
    weight: weight === "" ? null : weight,
    priority: priority === "" ? null : priority,
    arm: arm || null,
    ...kept,
  }));
}

/** Where a model is served from: lower priority first, and within one priority by weight. */
export function TargetFields({
  targets,
  arms,
  input,
  onAdd,
  onRemove,
}: {
  targets: TargetValues[];
  /** The arms of the split, where there is one. */
  arms?: string[];
  input: (field: `targets.${number}.${keyof TargetValues}`) => object;
  onAdd: () => void;
  onRemove: (index: number) => void;
}) {
  const { t } = useTranslation(["models", "common"]);
  const upstreams = useUpstreams();
  const choices = upstreams.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? [];
  return (
    <>
      {targets.map((target, index) => (
        <div key={target.key} className={classes.target}>
          <Select
            className={classes.upstream}
            label={t("upstream")}
            data={choices}
            searchable={choices.length > 8}
            allowDeselect={false}
            {...input(`targets.${index}.upstream_id`)}
          />
          <TextInput
            className={classes.model}
            label={t("upstreamModel")}
            autoComplete="off"
            spellCheck={false}
            {...input(`targets.${index}.upstream_model`)}
          />
          {arms ? (
            <Select
              className={classes.arm}
              label={t("arm")}
              placeholder={t("common:all")}
              data={[...new Set(arms)]}
              clearable
              {...input(`targets.${index}.arm`)}
            />
          ) : null}
          <NumberInput
            className={classes.number}
            label={t("priority")}
            min={1}
            max={1000}
            hideControls
            {...input(`targets.${index}.priority`)}
          />
          <NumberInput
            className={classes.number}
            label={t("weight")}
            min={0}
            max={1_000_000}
            hideControls
            {...input(`targets.${index}.weight`)}
          />
          <IconAction
            label={t("removeTarget", { number: index + 1 })}
            className={classes.remove}
            variant="transparent"
            disabled={targets.length === 1}
            onClick={() => onRemove(index)}
          >
            <IconTrash size={16} />
          </IconAction>
        </div>
      ))}
      <div>
        <Button variant="default" size="xs" leftSection={<IconPlus size={14} />} onClick={onAdd}>
          {t("addTarget")}
        </Button>
      </div>
    </>
  );
}
